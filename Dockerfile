# Two images. Each is built from scratch, contains one static binary, and does not run as root:
#   docker buildx build .                     the service
#   docker buildx build --target emulator .   the stand-in for Google Books, for clusters without internet
#
# The Go compiler runs on the build machine's own platform and cross-compiles, so no emulation is needed.

FROM --platform=$BUILDPLATFORM golang:1.26.8@sha256:0f063af2d465d8dcae54cce04278ada488b96f77b42449c8d071e47d016cc65a AS source
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod \
    go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION=dev
ENV CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH
ENV GOFLAGS="-trimpath -buildvcs=false"
ENV LDFLAGS="-s -w -X example.com/bookinfo/cmd/internal/buildinfo.version=$VERSION"

FROM source AS build-details
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -ldflags="$LDFLAGS" -o /out/details ./cmd/details

FROM source AS build-emulator
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -ldflags="$LDFLAGS" -o /out/books-emulator ./cmd/books-emulator

# User 65532 exists on no node. It must not be 1337, the sidecar's user: traffic of that user bypasses the sidecar.
FROM scratch AS emulator
ARG VERSION=dev
LABEL org.opencontainers.image.title="examples-bookinfo-books-emulator" \
      org.opencontainers.image.description="A stand-in for the volumes API of Google Books" \
      org.opencontainers.image.version=$VERSION
COPY --from=build-emulator /out/books-emulator /books-emulator
USER 65532:65532
EXPOSE 8080 8443
ENTRYPOINT ["/books-emulator"]
# The program's default is the loopback interface, which nothing outside the container can reach.
CMD ["--http", ":8080", "--https", ":8443"]

# The last stage is the default: it is built if there is no --target.
FROM scratch AS details
ARG VERSION=dev
# Bookinfo's own build arguments. As in Bookinfo, service_version without enable_external_book_service
# means the fixed book of details-v1. Without either, this is details-v2.
ARG service_version
ARG enable_external_book_service=${service_version:+false}
ENV ENABLE_EXTERNAL_BOOK_SERVICE=${enable_external_book_service:-true}
LABEL org.opencontainers.image.title="examples-bookinfo-details-${service_version:-v2}" \
      org.opencontainers.image.description="Bookinfo's details service, backed by Google Books" \
      org.opencontainers.image.version=$VERSION
# The root certificates, to verify Google's certificate.
COPY --from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build-details /out/details /details
USER 65532:65532
EXPOSE 9080
# The port may follow as an argument, as in `details.rb 9080`.
ENTRYPOINT ["/details"]
