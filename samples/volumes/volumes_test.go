package volumes_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/samples/volumes"
)

// list is the part of an answer that details reads, and what tells one volume from another.
type list struct {
	Kind       string
	TotalItems int
	Items      []volume
}

type volume struct {
	Kind, ID, Etag string
	VolumeInfo     struct {
		Title               string
		Authors             []string
		Publisher           string
		PublishedDate       string
		Description         string
		IndustryIdentifiers []identifier
		PageCount           *int
		PrintType           string
		Language            string
	}
}

type identifier struct{ Type, Identifier string }

// isbns are the volume's ISBN-10 and ISBN-13.
func (v volume) isbns() []string {
	var isbns []string
	for _, id := range v.VolumeInfo.IndustryIdentifiers {
		isbns = append(isbns, id.Identifier)
	}

	return isbns
}

func TestSamplesHaveGooglesShape(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(volumes.FS, "*")
	require.NoError(t, err)
	require.NotEmpty(t, names)

	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked, isJSON := strings.CutSuffix(name, ".json")
			require.True(t, isJSON)
			body, err := volumes.FS.ReadFile(name)
			require.NoError(t, err)
			assert.True(t, utf8.Valid(body))

			var indented bytes.Buffer
			require.NoError(t, json.Indent(&indented, body, "", "  "))
			assert.Equal(t, indented.String(), string(body), "indented by two spaces")

			answer := read(t, asked)
			assert.Equal(t, "books#volumes", answer.Kind)
			assert.Len(t, answer.Items, answer.TotalItems)
			var isbns []string
			for _, item := range answer.Items {
				isbns = append(isbns, item.isbns()...)
				assert.Equal(t, "books#volume", item.Kind)
				assert.NotEmpty(t, item.VolumeInfo.Authors)
				require.Len(t, item.VolumeInfo.IndustryIdentifiers, 2)
			}
			assert.Contains(t, isbns, asked)
			assertCheckDigit(t, asked)
			for _, isbn := range isbns {
				assertCheckDigit(t, isbn)
			}
		})
	}
}

func TestSamplesShowWhatGoogleShows(t *testing.T) {
	t.Parallel()

	comedy := read(t, "0486424618").Items[0].VolumeInfo
	assert.Equal(t, "The Comedy of Errors", comedy.Title)
	assert.Equal(t, []string{"William Shakespeare"}, comedy.Authors)
	assert.Equal(t, "2002-09-19", comedy.PublishedDate)
	assert.Equal(t, "BOOK", comedy.PrintType)
	assert.Equal(t, 53, *comedy.PageCount)
	assert.Equal(t, "Courier Corporation", comedy.Publisher)
	assert.Equal(t, "en", comedy.Language)
	assert.Equal(t, []identifier{{"ISBN_13", "9780486424613"}, {"ISBN_10", "0486424618"}}, comedy.IndustryIdentifiers)

	assert.Equal(t, "Pride and Prejudice", read(t, "9780141439518").Items[0].VolumeInfo.Title)
	assert.Nil(t, read(t, "9780486264783").Items[0].VolumeInfo.PageCount, "no pageCount")
	assert.Equal(t, []string{"Gabriel García Márquez"}, read(t, "9780307474728").Items[0].VolumeInfo.Authors)
	assert.Equal(t, "ja", read(t, "9784101010137").Items[0].VolumeInfo.Language)

	frankenstein := read(t, "9780141439471").Items
	assert.NotContains(t, frankenstein[0].isbns(), "9780141439471", "another edition comes first")
	assert.Contains(t, frankenstein[1].isbns(), "9780141439471")
}

// The samples are our own words: they share no text, id or etag with answers of Google that were recorded.
func TestSamplesAreNotRecordings(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("GOOGLE_BOOKS_RECORDINGS")
	if folder == "" {
		t.Skip("GOOGLE_BOOKS_RECORDINGS names no folder")
	}
	recordings, err := filepath.Glob(filepath.Join(folder, "isbn-*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, recordings)
	var recorded bytes.Buffer
	for _, path := range recordings {
		body, err := os.ReadFile(path)
		require.NoError(t, err)
		recorded.Write(body)
	}

	names, err := fs.Glob(volumes.FS, "*.json")
	require.NoError(t, err)
	for _, name := range names {
		for _, item := range read(t, strings.TrimSuffix(name, ".json")).Items {
			for _, text := range []string{item.ID, item.Etag, item.VolumeInfo.Description} {
				require.NotEmpty(t, text)
				assert.NotContains(t, recorded.String(), text)
			}
		}
	}
}

func read(t *testing.T, isbn string) list {
	t.Helper()
	body, err := volumes.FS.ReadFile(isbn + ".json")
	require.NoError(t, err)
	var answer list
	require.NoError(t, json.Unmarshal(body, &answer))

	return answer
}

// assertCheckDigit holds ISO 2108: weights 10 to 1 and a multiple of 11, or weights 1 and 3 in turn and a multiple of 10.
func assertCheckDigit(t *testing.T, isbn string) {
	t.Helper()
	sum, modulus := 0, 10
	for i, digit := range isbn {
		value := strings.IndexRune("0123456789X", digit)
		require.GreaterOrEqual(t, value, 0, isbn)
		if len(isbn) == 10 {
			modulus = 11
			sum += value * (10 - i)
		} else {
			sum += value * (1 + 2*(i%2))
		}
	}
	assert.Contains(t, []int{10, 13}, len(isbn), isbn)
	assert.Zero(t, sum%modulus, "check digit of %s", isbn)
}
