package details

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
)

// TestRecordings answers with what Google really said; the folder is named by
// GOOGLE_BOOKS_RECORDINGS. It asks for no book's ISBN, so that the first volume
// is taken, as details.rb does.
func TestRecordings(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("GOOGLE_BOOKS_RECORDINGS")
	if dir == "" {
		t.Skip("GOOGLE_BOOKS_RECORDINGS names no folder of recorded answers")
	}
	files, err := filepath.Glob(filepath.Join(dir, "isbn-*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "no recordings in %s", dir)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			body, err := os.ReadFile(file)
			require.NoError(t, err)
			client, err := googlebooks.New(googlebooks.Config{Transport: inMemory(body)})
			require.NoError(t, err)
			h, _ := newService(Config{Books: client, ISBNs: map[int64]googlebooks.ISBN{0: "0000000000"}})
			w := ask(t, h, http.MethodGet, "/details/0", nil)
			want := rubyBook(t, body)
			if want == "" {
				assert.Equal(t, http.StatusNotFound, w.Code)
				return
			}
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Equal(t, want, w.Body.String())
		})
	}
}

// rubyBook makes the answer in the way of details.rb, from untyped JSON and
// with another encoder than the service's; "" where there is no volume.
func rubyBook(t *testing.T, body []byte) string {
	t.Helper()
	var answer struct {
		Items []struct{ VolumeInfo map[string]any }
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&answer))
	require.False(t, decoder.More())
	if len(answer.Items) == 0 {
		return ""
	}
	book := answer.Items[0].VolumeInfo
	isbn := func(kind string) any {
		identifiers, _ := book["industryIdentifiers"].([]any)
		for _, id := range identifiers {
			if id, _ := id.(map[string]any); id["type"] == kind {
				return id["identifier"]
			}
		}
		return nil
	}
	either := func(is bool, yes string) any {
		if is {
			return yes
		}
		return "unknown"
	}
	var author any
	if authors, _ := book["authors"].([]any); len(authors) > 0 {
		author = authors[0]
	}
	members := []string{`"id":0`}
	for _, member := range []struct {
		name  string
		value any
	}{
		{"author", author},
		{"year", book["publishedDate"]},
		{"type", either(book["printType"] == "BOOK", "paperback")},
		{"pages", book["pageCount"]},
		{"publisher", book["publisher"]},
		{"language", either(book["language"] == "en", "English")},
		{"ISBN-10", isbn("ISBN_10")},
		{"ISBN-13", isbn("ISBN_13")},
	} {
		var value strings.Builder
		encoder := json.NewEncoder(&value)
		encoder.SetEscapeHTML(false)
		require.NoError(t, encoder.Encode(member.value))
		members = append(members, `"`+member.name+`":`+strings.TrimSuffix(value.String(), "\n"))
	}
	return "{" + strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(strings.Join(members, ",")) + "}"
}
