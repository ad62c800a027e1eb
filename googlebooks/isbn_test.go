package googlebooks

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseISBN(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in   string
		want ISBN
		err  string
	}{
		"ISBN-10":               {in: "0486424618", want: "0486424618"},
		"ISBN-13":               {in: "9780486424613", want: "9780486424613"},
		"979":                   {in: "979-10-90636-07-1", want: "9791090636071"},
		"hyphens and spaces":    {in: " 0-486-42461 8 ", want: "0486424618"},
		"check digit X":         {in: "072253955X", want: "072253955X"},
		"check digit x":         {in: "072253955x", want: "072253955X"},
		"nine digits":           {in: "048642461", err: "want ten digits, or thirteen"},
		"another prefix":        {in: "9770486424614", err: "begin with 978 or 979"},
		"wrong check digit":     {in: "0486424619", err: "the check digit is 9, want 8"},
		"wrong check digit, 13": {in: "9780486424614", err: "the check digit is 4, want 3"},
		"X not at the end":      {in: "04864X4618", err: "it contains 'X'"},
		"X in an ISBN-13":       {in: "978048642461X", err: "it contains 'X'"},
		"full-width digits":     {in: "０486424618", err: "it contains '"},
	} {
		got, err := ParseISBN(tc.in)
		assert.Equal(t, tc.want, got, name)
		if tc.err == "" {
			assert.NoError(t, err, name)
		} else {
			assert.ErrorContains(t, err, tc.err, name)
		}
	}
}

func TestISBNMatches(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		isbn       ISBN
		identifier string
		want       bool
	}{
		"ISBN-10 as ISBN-13":   {"0486424618", "9780486424613", true},
		"ISBN-13 as ISBN-10":   {"9780486424613", "0486424618", true},
		"X in lower case":      {"9780722539552", "072253955x", true},
		"another book":         {"0486424618", "9781101477816", false},
		"wrong check digit":    {"0486424618", "0486424610", false},
		"979 has no ISBN-10":   {"9791090636071", "1090636079", false},
		"ten bytes, no digits": {"0486424618", "ÄÖÜßÄ", false},
	} {
		assert.Equal(t, tc.want, tc.isbn.matches(tc.identifier), name)
	}
}

func FuzzParseISBN(f *testing.F) {
	for _, s := range []string{"0486424618", "978-0-486-42461-3", "072253955x", "ÄÖÜßÄ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		isbn, err := ParseISBN(s)
		if err != nil {
			assert.False(t, ISBN("0486424618").matches(s), "an ISBN matches only ISBNs")
			return
		}
		again, err := ParseISBN(string(isbn))
		require.NoError(t, err)
		assert.Equal(t, isbn, again, "a parsed ISBN parses to itself")
		assert.True(t, isbn.matches(s))
		thirteen, err := ParseISBN(string(isbn.isbn13()))
		require.NoError(t, err, "the other form has a valid check digit")
		assert.Len(t, thirteen, 13)
	})
}
