# The pinned Alertmanager, laid out as in the official image.
FROM scratch
LABEL org.opencontainers.image.title="alertmanager, built from its module" io.github.estiba.part="alertmanager"
COPY alertmanager amtool /bin/
COPY certs /etc/ssl/certs
COPY --chown=65534:65534 state /alertmanager
USER 65534:65534
WORKDIR /alertmanager
EXPOSE 9093
ENTRYPOINT ["/bin/alertmanager"]
