package details

import "net/http"

// passedOn is the part of a caller's header that goes to Google: what tracers
// need to join the call to its trace, and the user agent. Never anything that
// tells who the caller is: details.rb sends cookie, authorization, jwt and
// end-user too. The values are shared with the caller's header.
func passedOn(header http.Header) http.Header {
	out := make(http.Header, 8)
	for _, name := range [...]string{
		"X-Request-Id",                                                             // Envoy
		"X-Ot-Span-Context",                                                        // Lightstep
		"X-Datadog-Trace-Id", "X-Datadog-Parent-Id", "X-Datadog-Sampling-Priority", // Datadog
		"Traceparent", "Tracestate", // W3C Trace Context: OpenTelemetry and others
		"X-Cloud-Trace-Context",                                                                // Google Cloud Trace
		"Grpc-Trace-Bin",                                                                       // OpenCensus
		"X-B3-Traceid", "X-B3-Spanid", "X-B3-Parentspanid", "X-B3-Sampled", "X-B3-Flags", "B3", // Zipkin
		"Sw8", // SkyWalking
		"User-Agent",
	} {
		if values := header[name]; len(values) > 0 {
			out[name] = values
		}
	}

	return out
}
