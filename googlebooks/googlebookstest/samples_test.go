package googlebookstest_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

func TestSamplesHaveGooglesShape(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("volumes/*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		body := googlebookstest.Sample(name)
		var indented bytes.Buffer
		require.NoError(t, json.Indent(&indented, body, "", "  "), file)
		assert.Equal(t, indented.String(), string(body), file)

		var list struct {
			Kind       string
			TotalItems int
			Items      []struct {
				Kind, ID, Etag string
				VolumeInfo     struct {
					Title, Description  string
					IndustryIdentifiers []struct{ Identifier string }
				}
			}
		}
		require.NoError(t, json.Unmarshal(body, &list), file)
		assert.Equal(t, "books#volumes", list.Kind, file)
		assert.Len(t, list.Items, list.TotalItems, file)
		var isbns []string
		for _, item := range list.Items {
			assert.Equal(t, "books#volume", item.Kind, file)
			assert.NotEmpty(t, item.VolumeInfo.Title, file)
			require.Len(t, item.VolumeInfo.IndustryIdentifiers, 2, file)
			for _, id := range item.VolumeInfo.IndustryIdentifiers {
				isbns = append(isbns, id.Identifier)
				_, err := googlebooks.ParseISBN(id.Identifier)
				require.NoError(t, err, file)
			}
			assertNotRecorded(t, item.ID, item.Etag, item.VolumeInfo.Description)
		}
		assert.Contains(t, isbns, name, file)
	}
}

// assertNotRecorded fails if a text is in an answer that Google gave: the
// samples are this project's own words.
func assertNotRecorded(t *testing.T, texts ...string) {
	t.Helper()
	recordings, err := filepath.Glob(filepath.Join(os.Getenv("GOOGLE_BOOKS_RECORDINGS"), "isbn-*.json"))
	require.NoError(t, err)
	for _, path := range recordings {
		recorded, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, text := range texts {
			require.NotEmpty(t, text)
			assert.NotContains(t, string(recorded), text)
		}
	}
}
