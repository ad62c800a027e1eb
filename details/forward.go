package details

import "net/http"

// maxForwarded limits the header sent to Google, in bytes of names and values.
// A server may refuse a larger one: HTTP/2 peers announce their limit.
const maxForwarded = 8 << 10

// tracingHeaders returns the caller's headers that join the call to its trace.
// Headers that identify the caller are never sent; details.rb also sends cookie,
// authorization, jwt, end-user and user-agent. A header is left out if it and
// those before it exceed maxForwarded.
func tracingHeaders(header http.Header) http.Header {
	forwarded := make(http.Header)
	size := 0
	for _, name := range [...]string{
		"X-Request-Id",                                                             // Envoy
		"X-Ot-Span-Context",                                                        // Lightstep
		"X-Datadog-Trace-Id", "X-Datadog-Parent-Id", "X-Datadog-Sampling-Priority", // Datadog
		"Traceparent", "Tracestate", // W3C Trace Context: OpenTelemetry and others
		"X-Cloud-Trace-Context",                                                                // Google Cloud Trace
		"Grpc-Trace-Bin",                                                                       // OpenCensus
		"X-B3-Traceid", "X-B3-Spanid", "X-B3-Parentspanid", "X-B3-Sampled", "X-B3-Flags", "B3", // Zipkin
		"Sw8", // SkyWalking
	} {
		values := header[name]
		length := 0
		for _, value := range values {
			length += len(name) + len(value)
		}
		if length > 0 && size+length <= maxForwarded {
			forwarded[name] = values
			size += length
		}
	}
	return forwarded
}
