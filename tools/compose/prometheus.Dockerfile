# The pinned Prometheus, laid out as in the official image.
FROM scratch
LABEL org.opencontainers.image.title="prometheus, built from its module" io.github.estiba.part="prometheus"
COPY prometheus promtool /bin/
COPY certs /etc/ssl/certs
COPY --chown=65534:65534 state /prometheus
USER 65534:65534
WORKDIR /prometheus
EXPOSE 9090
ENTRYPOINT ["/bin/prometheus"]
