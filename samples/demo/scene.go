package main

import (
	"fmt"
	"net/http"
	"strings"

	"example.com/bookinfo/googlebooks"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

// What is expected.
const (
	book = `{"id":0,"author":"William Shakespeare","year":"2002-09-19","type":"paperback","pages":53,` +
		`"publisher":"Courier Corporation","language":"English","ISBN-10":"0486424618","ISBN-13":"9780486424613"}`
	noAnswer = `{"error":"no answer from www.googleapis.com:443. Check that it can be reached; in a mesh, check that it has a ServiceEntry."}`
	query    = "/books/v1/volumes?q=isbn:0486424618"

	// The … stands for what differs from call to call.
	sealed    = "network saw " + googlebooks.DefaultHost + ", … in; nothing else"
	accessLog = "sidecar log GET " + query + " 200"
	refused   = "mesh log " + googlebooks.DefaultHost + ", no ServiceEntry for it: closed"
)

// scene is one call to a details service, what it must show, and why it matters.
type scene struct {
	title, setting, drawing string
	door                    door
	status                  int
	body                    string
	seen                    []string // in between, in this order
	arrivals                int      // at Google
	lesson                  string
}

func (s *stage) scenes() []scene {
	return []scene{
		{
			title: "1  HTTPS end to end", setting: "DO_NOT_ENCRYPT=false",
			drawing: "details ══ TLS ══▶ network ══ TLS ══▶ Google Books",
			door:    s.https, status: http.StatusOK, body: book, arrivals: 1,
			seen: []string{sealed},
			lesson: "The service encrypts its own call: whoever is in between, the mesh included, learns the server name (SNI) and " +
				"counts bytes. The path, the API key and the book stay hidden, so the mesh can allow or refuse the call, " +
				"and no more.",
		},
		{
			title: "2  Plain HTTP, and a sidecar that originates TLS", setting: "DO_NOT_ENCRYPT=true",
			drawing: "details ── HTTP ──▶ sidecar ══ TLS ══▶ network ══ TLS ══▶ Google Books",
			door:    s.plain, status: http.StatusOK, body: book, arrivals: 1,
			seen: []string{accessLog, sealed},
			lesson: "The same book, but the sidecar reads the call: it can log, count, retry and route it by its path, before it " +
				"encrypts it and checks Google's certificate. (This one is a small proxy that only plays the sidecar; " +
				"in a mesh it is Envoy.)",
		},
		{
			title: "3  A mesh that lets nothing out", setting: "no ServiceEntry",
			drawing: "details ══ TLS ══▶ mesh ──✗ Google Books",
			door:    s.blocked, status: http.StatusBadGateway, body: noAnswer,
			seen: []string{refused, refused, refused},
			lesson: "Under REGISTRY_ONLY the mesh closes every connection that no ServiceEntry allows (Istio's BlackHoleCluster). " +
				"The service tries three times and then says what is missing, long before productpage's 3 s are over: the " +
				"page shows all but the details.",
		},
	}
}

// check compares what happened with what must.
func (sc scene) check(status int, body string, seen []sighting, arrived []googlebookstest.Request) error {
	if status != sc.status || body != sc.body {
		return fmt.Errorf("answer %d %s, want %d %s", status, body, sc.status, sc.body)
	}
	if len(seen) != len(sc.seen) {
		return fmt.Errorf("%d lines were seen in between, want %d", len(seen), len(sc.seen))
	}
	for i, want := range sc.seen {
		first, last, _ := strings.Cut(want, "…")
		if got := seen[i].who + " " + seen[i].what; !strings.HasPrefix(got, first) || !strings.HasSuffix(got, last) {
			return fmt.Errorf("seen in between: %q, want %q", got, want)
		}
	}
	if len(arrived) != sc.arrivals {
		return fmt.Errorf("%d calls arrived at Google, want %d", len(arrived), sc.arrivals)
	}
	for _, r := range arrived {
		if !r.TLS || r.ServerName != googlebooks.DefaultHost || r.Host != googlebooks.DefaultHost || r.RequestURI != query {
			return fmt.Errorf("what arrived at Google is: TLS %t for %q, host %q, %s", r.TLS, r.ServerName, r.Host, r.RequestURI)
		}
	}

	return nil
}
