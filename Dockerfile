# Two images from one build, both static, from scratch, and running as nobody in particular:
#   docker buildx build --target details .    the service (the default)
#   docker buildx build --target emulator .   the stand-in for Google Books, for clusters without internet
# The compiler runs on the machine's own platform and cross-compiles, so no other platform is emulated.

FROM --platform=$BUILDPLATFORM golang:1.26 AS source
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod \
    go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION=dev COMMIT=unknown
ENV CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH
ENV GOFLAGS="-trimpath -buildvcs=false" LDFLAGS="-s -w -X example.com/bookinfo/cmd/internal/buildinfo.version=$VERSION"

FROM source AS build-details
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -ldflags="$LDFLAGS" -o /out/details ./cmd/details

FROM source AS build-emulator
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -ldflags="$LDFLAGS" -o /out/books-emulator ./cmd/books-emulator

# 65532 is nobody's id on a node. Never 1337: that is the sidecar's own user, whose traffic leaves a pod uncaptured.
FROM scratch AS emulator
ARG VERSION=dev COMMIT=unknown
LABEL org.opencontainers.image.title="examples-bookinfo-books-emulator" \
      org.opencontainers.image.description="A stand-in for the volumes API of Google Books" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$COMMIT
COPY --from=build-emulator /out/books-emulator /books-emulator
USER 65532:65532
EXPOSE 8080 8443
ENTRYPOINT ["/books-emulator"]
# By itself it listens on the loopback interface only, which nothing outside a container reaches. Arguments replace these.
CMD ["--http", ":8080", "--https", ":8443"]

FROM scratch AS details
ARG VERSION=dev COMMIT=unknown
LABEL org.opencontainers.image.title="examples-bookinfo-details-v2" \
      org.opencontainers.image.description="Bookinfo's details service, backed by Google Books" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$COMMIT
# The roots that Google's certificate is checked against; without them HTTPS can't work.
COPY --from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build-details /out/details /details
USER 65532:65532
EXPOSE 9080
# The port is an argument, as in `details.rb 9080`.
ENTRYPOINT ["/details"]
