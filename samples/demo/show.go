package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// perform gives the show and then, but for once, stays until ctx is done. The
// error says in which scenes something was not as expected.
func perform(ctx context.Context, out screen, google googlebookstest.Config, once bool) error {
	s, err := newStage(ctx, google)
	defer s.close()
	if err != nil {
		return err
	}

	out.line("\n  %s\n", out.paint(bold, "Bookinfo details: two ways out of the mesh, and one that is shut"))
	out.prose("  ", "The details service is the real one. A stand-in plays Google Books, and all of it runs on this machine: "+
		"no API key, no internet.")
	for _, d := range []door{s.https, s.plain, s.blocked} {
		if d.taken != "" {
			out.line("  %s", out.paint(yellow, fmt.Sprintf("Port %s is taken by another program; here it is %s.", d.taken, d.port)))
		}
	}
	begin := time.Now()
	for _, scene := range s.scenes() {
		err = errors.Join(err, s.play(ctx, out, scene))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	compare(out)
	out.line("\n  %s", out.paint(green, fmt.Sprintf("✓ All as expected, in %.1f s.", time.Since(begin).Seconds())))
	s.next(out, once)
	if !once {
		s.watch(ctx, out)
	}

	return nil
}

// play shows one scene and checks it.
func (s *stage) play(ctx context.Context, out screen, sc scene) error {
	out.heading(sc.title, sc.setting)
	out.drawing(sc.drawing)
	out.line("\n     %s", out.paint(bold, "$ curl localhost:"+sc.door.port+"/details/0"))

	before, begin := len(s.google.Requests()), time.Now()
	status, body, err := curl(ctx, "http://localhost:"+sc.door.port+"/details/0")
	took := time.Since(begin)
	seen := s.collect(ctx, sc.door.port, len(sc.seen))
	slices.SortStableFunc(seen, func(a, b sighting) int { return strings.Compare(b.who, a.who) }) // the sidecar is before the network
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		err = sc.check(status, body, seen, s.google.Requests()[before:])
	}

	out.json(body)
	out.line("     %s\n", out.paint(dim, fmt.Sprintf("%d %s, in %d ms", status, http.StatusText(status), took.Milliseconds())))
	for _, saw := range seen {
		out.sighting("     ", saw)
	}
	if err != nil {
		out.line("\n     %s", out.paint(red, "✗ not as expected"))

		return fmt.Errorf("scene %c: %w", sc.title[0], err)
	}
	out.line("")
	out.prose("     ", sc.lesson)

	return nil
}

// collect waits for n sightings of calls by one service: the last bytes of a
// connection may come after the answer.
func (s *stage) collect(ctx context.Context, port string, n int) (seen []sighting) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for len(seen) < n {
		select {
		case saw := <-s.sightings:
			if saw.port == port {
				seen = append(seen, saw)
			}
		case <-ctx.Done():
			return seen
		}
	}

	return seen
}

// compare sets the two ways beside each other.
func compare(out screen) {
	out.heading("Side by side", "")
	out.line("     %s", out.paint(bold, "                    HTTPS               plain HTTP + sidecar"))
	out.line(`     who encrypts        the service         the sidecar
     the mesh sees       the server name     method, path, status, API key
     the network sees    the server name     the server name
     the reader gets     the book            the same, byte for byte`)
}

// next tells what to type next.
func (s *stage) next(out screen, once bool) {
	command := func(text string) string { return out.paint(cyan, text) }
	out.heading("What next", "")
	if once {
		out.line("     %s   the same, and stays for your own curl", command("make demo"))
	} else {
		out.line("     All three services are up. In another terminal, with any book from 0 to 5:\n")
		out.line("     %s      HTTPS end to end", command("curl localhost:"+s.https.port+"/details/1"))
		out.line("     %s      plain HTTP, then the sidecar", command("curl localhost:"+s.plain.port+"/details/1"))
		out.line("     %s   blocked", command("curl -i localhost:"+s.blocked.port+"/details/1"))
	}
	out.line("\n     The real Google Books, with an API key of yours:\n\n     %s", command("GOOGLE_BOOKS_API_KEY=… go run ./cmd/details"))
	if !once {
		out.line("\n     %s ends it. What is seen of your calls:\n", out.paint(bold, "Ctrl-C"))
	}
}

// watch tells of what is seen in between until ctx is done.
func (s *stage) watch(ctx context.Context, out screen) {
	for {
		select {
		case saw := <-s.sightings:
			out.sighting(out.paint(dim, fmt.Sprintf("  :%-5s ", saw.port)), saw)
		case <-ctx.Done():
			out.line("\n  Stopped.")

			return
		}
	}
}

// curl asks as the reader's curl would.
func curl(ctx context.Context, url string) (status int, body string, err error) {
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
