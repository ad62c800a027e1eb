package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/bookinfo/googlebooks"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

// scenario is one call to a details service and what is expected of it. Texts
// are wrapped by hand, so that the output fits into 60 columns.
type scenario struct {
	title, setting, drawing string
	port                    string // preferred; after start, the actual one
	plainHTTP, blocked      bool
	status                  int
	body                    []string // on several lines
	seen                    []string // prefixes of the events, in the order of the path
	lesson                  string
}

func scenarios() []*scenario {
	book := []string{
		`{"id":0,"author":"William Shakespeare",`,
		`"year":"2002-09-19","type":"paperback","pages":53,`,
		`"publisher":"Courier Corporation","language":"English",`,
		`"ISBN-10":"0486424618","ISBN-13":"9780486424613"}`,
	}
	const (
		request   = "GET /books/v1/volumes?q=isbn:0486424618 200"
		sidecar   = "sidecar log " + request
		encrypted = "network saw " + googlebooks.DefaultHost + ", "
		arrived   = "Google log  " + request
		closed    = "mesh log    " + googlebooks.DefaultHost + ": no ServiceEntry, closed"
	)
	return []*scenario{
		{
			title:   "1  HTTPS end to end",
			setting: "DO_NOT_ENCRYPT=false",
			drawing: "details ═══════════ TLS ═══════════▶ Google Books",
			port:    "9080",
			status:  http.StatusOK,
			body:    book,
			seen:    []string{encrypted, arrived},
			lesson: `The service encrypts its own call. Whoever is in
between, including the mesh, sees the server name (SNI)
and counts bytes. Path, API key and book stay hidden.
The mesh can allow or refuse the call, and no more.`,
		},
		{
			title:     "2  Plain HTTP, TLS by the sidecar",
			setting:   "DO_NOT_ENCRYPT=true",
			drawing:   "details ── HTTP ──▶ sidecar ══ TLS ══▶ Google Books",
			port:      "9081",
			plainHTTP: true,
			status:    http.StatusOK,
			body:      book,
			seen:      []string{sidecar, encrypted, arrived},
			lesson: `The same book, but the sidecar reads the call. It can
log, count, retry or route the call. Then it encrypts
it, and checks Google's certificate. (A small proxy
plays the sidecar here. In a mesh it is Envoy.)`,
		},
		{
			title:   "3  A mesh that lets nothing out",
			setting: "no ServiceEntry",
			drawing: "details ══ TLS ══▶ mesh ──✗        Google Books",
			port:    "9082",
			blocked: true,
			status:  http.StatusBadGateway,
			body: []string{
				`{"error":"no answer from www.googleapis.com:443. `,
				`Check that it can be reached; in a mesh, `,
				`check its ServiceEntry and, in ambient, its waypoint."}`,
			},
			seen: []string{closed, closed, closed},
			lesson: `Under REGISTRY_ONLY the mesh closes every connection
without a ServiceEntry (Istio's BlackHoleCluster). The
service tries three times and says what is missing. The
product page shows everything except the details.`,
		},
	}
}

// check compares what happened with what was expected.
func (sc *scenario) check(status int, body string, events []string) error {
	if want := strings.Join(sc.body, ""); status != sc.status || body != want {
		return fmt.Errorf("answer %d %s, want %d %s", status, body, sc.status, want)
	}
	if !slices.EqualFunc(events, sc.seen, strings.HasPrefix) {
		return fmt.Errorf("seen %q, want %q", events, sc.seen)
	}
	return nil
}

// show runs all scenarios. Then, unless once is set, it shows the events of the
// reader's own calls until ctx is done.
func show(ctx context.Context, out screen, google googlebookstest.Config, once bool) error {
	all := scenarios()
	s, err := start(ctx, google, all)
	defer s.close()
	if err != nil {
		return err
	}
	out.line("\n  %s\n", out.paint(bold, "details: two ways out of the mesh, and a mesh that blocks"))
	out.line(`  The details service is the real one. A stand-in replaces
  Google Books, so you need no API key and no internet.`)
	if len(s.taken) > 0 {
		out.line("  Ports in use: %s. The demo uses others.", strings.Join(s.taken, ", "))
	}
	for _, sc := range all {
		if err := s.play(ctx, out, sc); err != nil {
			return err
		}
	}
	out.heading("Side by side", "")
	out.line(`                    HTTPS         plain HTTP + sidecar
  who encrypts      the service   the sidecar
  the mesh sees     server name   method, path, status, key
  the network sees  server name   server name
  the caller gets   the book      the same, byte for byte`)
	out.line("\n  %s", out.paint(green, "✓ All as expected."))
	if err := out.pause(ctx); err != nil {
		return err
	}
	out.heading("What next", "")
	const realGoogle = `The real Google Books, with your API key:
  GOOGLE_BOOKS_API_KEY=… PORT=9090 make run
  curl localhost:9090/details/0`
	if once {
		out.indented("To try your own curl:\n  make demo\n\n" + realGoogle)
		return nil
	}
	out.indented("In another terminal, with any book from 0 to 5:\n")
	for _, sc := range all {
		out.indented("%s:\n  curl localhost:%s/details/1", sc.title[3:], sc.port)
	}
	out.indented("\n"+realGoogle+"\n\n%s ends the demo. The events of your calls:\n", out.paint(bold, "Ctrl-C"))
	for {
		select {
		case event := <-s.events:
			out.line("  %s", event)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// play shows one scenario, checks it and pauses.
func (s *services) play(ctx context.Context, out screen, sc *scenario) error {
	url := "localhost:" + sc.port + "/details/0"
	out.heading(sc.title, sc.setting)
	out.indented("%s\n\n%s", sc.drawing, out.paint(bold, "$ curl "+url))
	begin := time.Now()
	status, body, err := get(ctx, "http://"+url)
	if err != nil {
		return err
	}
	result := fmt.Sprintf("%d %s, in %d ms", status, http.StatusText(status), time.Since(begin).Milliseconds())
	events := s.collect(ctx, sc)
	err = sc.check(status, body, events)
	if body == strings.Join(sc.body, "") {
		body = strings.Join(sc.body, "\n ")
	}
	out.indented("%s\n%s\n", body, out.paint(dim, result))
	out.line("  %s", strings.Join(events, "\n  "))
	if err != nil {
		out.indented("\n%s", out.paint(red, "✗ not as expected"))
		return fmt.Errorf("scenario %c: %w", sc.title[0], err)
	}
	out.indented("\n%s", sc.lesson)
	return out.pause(ctx)
}

// collect waits for the events of a scenario and returns them in the order of
// the path. The last bytes of a connection may come after the answer.
func (s *services) collect(ctx context.Context, sc *scenario) (events []string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for range sc.seen {
		select {
		case event := <-s.events:
			events = append(events, event)
		case <-ctx.Done():
		}
	}
	place := func(event string) int { return strings.Index("snG", event[:1]) } // sidecar, network, Google
	slices.SortStableFunc(events, func(a, b string) int { return place(a) - place(b) })
	return events
}

func get(ctx context.Context, url string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// The colours, as ANSI escape codes.
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

// screen writes text for a person, in colour on a terminal, and pauses.
type screen struct {
	io.Writer

	colour bool
	input  *bufio.Reader // nil: no pauses
}

func newScreen(w io.Writer) screen {
	s := screen{Writer: w}
	if f, ok := w.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		info, err := f.Stat()
		s.colour = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

func (s screen) paint(colour, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// pause waits for a line of input, for its end or until ctx is done.
func (s screen) pause(ctx context.Context) error {
	if s.input == nil {
		return ctx.Err()
	}
	fmt.Fprint(s, "\n  [Enter] ")
	read := make(chan struct{})
	go func() { _, _ = s.input.ReadString('\n'); close(read) }()
	select {
	case <-read:
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (s screen) line(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

func (s screen) indented(format string, args ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		s.line("%s", strings.TrimRight("    "+line, " "))
	}
}

func (s screen) heading(left, right string) {
	s.line("\n  %s", strings.TrimRight(s.paint(bold, left)+fmt.Sprintf("%*s", 58-len(left), right), " "))
	s.line("  %s", s.paint(dim, strings.Repeat("─", 58)))
}
