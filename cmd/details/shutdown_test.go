package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/details"
	"example.com/bookinfo/googlebooks"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

// tally counts the outcomes of the requests of many clients.
type tally struct{ answered, lost atomic.Int64 }

// run requests books over one connection until a response closes it.
func (n *tally) run(ctx context.Context, url string) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		n.lost.Add(1)
		return
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		_, _ = io.WriteString(c, bookRequest) // if it fails, so does reading
		res, err := http.ReadResponse(r, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
		}
		if err != nil || res.StatusCode != http.StatusOK {
			n.lost.Add(1)
			return
		}
		n.answered.Add(1)
		if res.Close {
			return
		}
		time.Sleep(time.Millisecond) // the connection is idle, as between two requests
	}
}

// TestShutdownLosesNothing ends the server under load. The clients keep their
// connections alive and, unlike net/http's, never retry: with Shutdown alone,
// many of them would lose a request.
func TestShutdownLosesNothing(t *testing.T) {
	t.Parallel()
	const clients = 48
	// Even on a busy machine, each client gets a response while it may move.
	slow := func(s *server) { s.moveTimeout = 3 * time.Second }
	for name, delay := range map[string]time.Duration{"fast lookups": 0, "slow lookups": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, cfg := standIn(t, googlebookstest.Config{Delay: delay})
			client, err := googlebooks.New(cfg.client())
			require.NoError(t, err)
			s := serveWith(t, details.Config{Books: client}, slow)
			var n tally
			var load sync.WaitGroup
			for range clients {
				load.Go(func() { n.run(t.Context(), s.url) })
			}
			require.Eventually(t, func() bool { return n.answered.Load() > 4*clients }, 2*clientTimeout, time.Millisecond)
			s.end()
			assert.NoError(t, <-s.err)
			load.Wait()
			assert.Zero(t, n.lost.Load(), "a response closed each connection")
		})
	}
}

// TestHungUpstreamCannotHoldShutdown: after the timeout, requests in flight are
// cut off and their calls to Google cancelled.
func TestHungUpstreamCannotHoldShutdown(t *testing.T) {
	t.Parallel()
	google, _, cfg := standIn(t, googlebookstest.Config{Delay: time.Hour})
	tries := make(chan googlebooks.Try, 1)
	clientConfig := cfg.client()
	clientConfig.Observe = func(x googlebooks.Try) { tries <- x }
	client, err := googlebooks.New(clientConfig)
	require.NoError(t, err)
	var log bytes.Buffer
	s := serveWith(t, details.Config{Books: client}, func(s *server) {
		s.shutdownTimeout, s.logger = time.Millisecond, slog.New(slog.NewTextHandler(&log, nil))
	})
	c := dial(t, s.url)
	write(t, c, bookRequest)
	awaitCall(t, google)
	s.end()
	assert.NoError(t, <-s.err)
	assert.Equal(t, googlebooks.ReasonCanceled, (<-tries).Reason)
	assert.Empty(t, readToEnd(t, c))
	assert.Contains(t, log.String(), "some requests were cut off")
}

// TestShutdownAnswersWhatIsQueued: a connection that waits in the kernel's queue
// at the signal is still answered.
func TestShutdownAnswersWhatIsQueued(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := newServer(details.New(details.Config{}), slog.New(slog.DiscardHandler))
	s.moveTimeout = 3 * time.Second
	clients := make([]net.Conn, 32)
	for i := range clients {
		clients[i] = dial(t, "http://"+listener.Addr().String())
		write(t, clients[i], bookRequest)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, listener) }()
	for _, c := range clients {
		assert.Equal(t, http.StatusOK, readResponse(t, bufio.NewReader(c)).StatusCode)
		require.NoError(t, c.Close())
	}
	assert.NoError(t, <-ended)
}

// TestSignals: either signal ends the program. It answers a request that takes
// longer than clients have to reconnect.
func TestSignals(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]os.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": os.Interrupt} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			google, _, _ := standIn(t, googlebookstest.Config{Delay: 2 * moveTimeout})
			p := spawn(t, plainEnv(google.HTTPAddr))
			answer := make(chan string, 1)
			go func() {
				_, body := get(t, p.url+"/details/0")
				answer <- body
			}()
			awaitCall(t, google)
			p.signal(t, s)
			assert.Equal(t, comedy, <-answer)
			assert.Equal(t, "exit status 0", p.wait())
		})
	}
}

// TestSecondSignal: a second signal kills the program.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	google, _, _ := standIn(t, googlebookstest.Config{Delay: time.Hour})
	p := spawn(t, plainEnv(google.HTTPAddr))
	c := dial(t, p.url)
	write(t, c, bookRequest)
	awaitCall(t, google)
	p.signal(t, syscall.SIGTERM)
	for ended := false; !ended; { // signals that arrive before the first one is handled count as one
		select {
		case <-p.read:
			ended = true
		case <-time.After(20 * time.Millisecond):
			_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by now
		}
	}
	assert.Equal(t, "signal: terminated", p.wait())
}
