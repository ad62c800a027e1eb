package details

import (
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

// TestRecordings compares the service with details.rb for real answers of
// Google's, in the folder that GOOGLE_BOOKS_RECORDINGS names. No volume has the
// ISBN that it looks up, so the first one is taken, as in details.rb.
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
		body, err := os.ReadFile(file)
		require.NoError(t, err)
		client, err := googlebooks.New(googlebooks.Config{Transport: inMemory(body)})
		require.NoError(t, err)
		h, _ := newService(Config{Books: client, ISBNs: map[int64]googlebooks.ISBN{0: "0000000000"}})
		w := ask(t, h, http.MethodGet, "/details/0", nil)
		want := rubyBook(t, body)
		if want == nil {
			assert.Equal(t, http.StatusNotFound, w.Code, file)
			continue
		}
		assert.Equal(t, http.StatusOK, w.Code, file)
		var got map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		assert.Equal(t, want, got, file)
	}
}

// rubyBook returns the answer of details.rb, made of untyped JSON; nil if there
// is no volume.
func rubyBook(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var answer struct {
		Items []struct{ VolumeInfo map[string]any }
	}
	require.NoError(t, json.Unmarshal(body, &answer))
	if len(answer.Items) == 0 {
		return nil
	}
	v := answer.Items[0].VolumeInfo
	book := map[string]any{
		"id": 0.0, "author": nil, "year": v["publishedDate"], "type": "unknown", "pages": v["pageCount"],
		"publisher": v["publisher"], "language": "unknown", "ISBN-10": nil, "ISBN-13": nil,
	}
	if authors, _ := v["authors"].([]any); len(authors) > 0 {
		book["author"] = authors[0]
	}
	if v["printType"] == "BOOK" {
		book["type"] = "paperback"
	}
	if v["language"] == "en" {
		book["language"] = "English"
	}
	identifiers, _ := v["industryIdentifiers"].([]any)
	for _, kind := range []string{"ISBN-13", "ISBN-10"} {
		for _, id := range identifiers {
			id, _ := id.(map[string]any)
			if id["type"] == strings.Replace(kind, "-", "_", 1) && book[kind] == nil {
				book[kind] = id["identifier"]
			}
		}
	}
	return book
}
