# A stand-in for wollomatic/socket-proxy, laid out in the same way.
FROM scratch
LABEL org.opencontainers.image.title="docker socket proxy" io.github.estiba.part="socket-proxy"
COPY socket-proxy /socket-proxy
COPY socket-proxy /healthcheck
USER 65534:65534
EXPOSE 2375
ENTRYPOINT ["/socket-proxy"]
