package details

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/bookinfo/googlebooks"
)

// bookOf is the answer for a volume, byte for byte what details.rb makes of
// it. What the volume does not tell is null; details.rb fails there if it is
// the authors or an ISBN.
func bookOf(id int64, v *googlebooks.Volume) []byte {
	kind, language := "unknown", "unknown"
	if v.PrintType != nil && *v.PrintType == "BOOK" {
		kind = "paperback"
	}
	if v.Language != nil && *v.Language == "en" {
		language = "English"
	}
	var author *string
	if len(v.Authors) > 0 {
		author = v.Authors[0]
	}

	b := make([]byte, 0, 256)
	b = strconv.AppendInt(append(b, `{"id":`...), id, 10)
	b = appendString(append(b, `,"author":`...), author)
	b = appendString(append(b, `,"year":`...), v.PublishedDate)
	b = appendString(append(b, `,"type":`...), &kind)
	b = append(b, `,"pages":`...)
	if v.PageCount == nil {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendInt(b, *v.PageCount, 10)
	}
	b = appendString(append(b, `,"publisher":`...), v.Publisher)
	b = appendString(append(b, `,"language":`...), &language)
	b = appendString(append(b, `,"ISBN-10":`...), identifier(v, "ISBN_10"))
	b = appendString(append(b, `,"ISBN-13":`...), identifier(v, "ISBN_13"))

	return append(b, '}')
}

// identifier is the first of the volume's numbers of a type, or nil.
func identifier(v *googlebooks.Volume, kind string) *string {
	for i := range v.IndustryIdentifiers {
		if v.IndustryIdentifiers[i].Type == kind {
			return v.IndustryIdentifiers[i].Identifier
		}
	}

	return nil
}

// appendString appends a JSON string, or null for nil. Like Ruby's generator
// it escapes quotes, backslashes and control characters alone; encoding/json
// would escape <, >, &, U+2028 and U+2029 as well.
func appendString(b []byte, s *string) []byte {
	if s == nil {
		return append(b, "null"...)
	}
	// The error is for invalid UTF-8, which no decoded JSON has.
	b, _ = jsontext.AppendQuote(b, *s)

	return b
}

// fixedBook is the answer of details-v1, and of details.rb without
// ENABLE_EXTERNAL_BOOK_SERVICE.
func fixedBook(id int64) []byte {
	b := strconv.AppendInt([]byte(`{"id":`), id, 10)

	return append(b, `,"author":"William Shakespeare","year":1595,"type":"paperback","pages":200,`+
		`"publisher":"PublisherA","language":"English","ISBN-10":"1234567890","ISBN-13":"123-1234567890"}`...)
}
