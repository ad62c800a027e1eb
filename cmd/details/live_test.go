package main

import (
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestLive calls the real Google. Only make test-live runs it. Over HTTPS,
// Google answers with the book. Over plain HTTP, Google refuses the call, which
// has no key, because it is in clear text. Settings that the test does not set
// come from the environment.
func TestLive(t *testing.T) {
	t.Parallel()
	key := os.Getenv("GOOGLE_BOOKS_API_KEY")
	switch {
	case os.Getenv("TEST_LIVE") == "":
		t.Skip("run make test-live")
	case key == "":
		t.Skip("set GOOGLE_BOOKS_API_KEY; deploy/README.md says how to get a key")
	}
	for name, tc := range map[string]struct {
		plain  string
		key    string
		status int
		want   string // Google may change the other fields
	}{
		"HTTPS": {
			plain:  "false",
			key:    key,
			status: http.StatusOK,
			want:   `^{"id":0,"author":"William Shakespeare",.*"pages":\d+,.*"ISBN-10":"0486424618","ISBN-13":"9780486424613"}$`,
		},
		"plain HTTP": {
			plain:  "true",
			status: http.StatusBadGateway,
			want:   `Google Books answered 403 sslRequired: .*Clear text reached a server`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := spawn(t, map[string]string{
				"GOOGLE_BOOKS_API_KEY": tc.key, "DO_NOT_ENCRYPT": tc.plain, "GOOGLE_BOOKS_TIMEOUT": "9s",
				"ENABLE_EXTERNAL_BOOK_SERVICE": "true", "BOOK_ISBNS": "", "CACHE_TTL": "",
			})
			status, body := get(t, p.url+"/details/0")
			p.signal(t, os.Interrupt)
			assert.Equal(t, "exit status 0", p.wait())
			assert.Equal(t, tc.status, status)
			assert.Regexp(t, tc.want, body)
			t.Log(body)
		})
	}
}
