package details

import (
	"example.com/bookinfo/googlebooks"
)

// book is the answer of GET /details/{id}: these keys in this order. A field
// that Google's volume does not have is null.
type book struct {
	ID        int64   `json:"id"`
	Author    *string `json:"author"`
	Year      any     `json:"year"` // Google's date, a string; the fixed book's year, a number
	Type      string  `json:"type"`
	Pages     *int64  `json:"pages"`
	Publisher *string `json:"publisher"`
	Language  string  `json:"language"`
	ISBN10    *string `json:"ISBN-10"`
	ISBN13    *string `json:"ISBN-13"`
}

// bookOf returns a volume as a book, as details.rb does. If the authors or an
// ISBN are missing, details.rb fails; the book has null.
func bookOf(id int64, v *googlebooks.Volume) book {
	b := book{
		ID:        id,
		Year:      v.PublishedDate,
		Type:      "unknown",
		Pages:     v.PageCount,
		Publisher: v.Publisher,
		Language:  "unknown",
		ISBN10:    identifier(v, "ISBN_10"),
		ISBN13:    identifier(v, "ISBN_13"),
	}
	if len(v.Authors) > 0 {
		b.Author = v.Authors[0]
	}
	if v.PrintType != nil && *v.PrintType == "BOOK" {
		b.Type = "paperback"
	}
	if v.Language != nil && *v.Language == "en" {
		b.Language = "English"
	}
	return b
}

// identifier returns the volume's first identifier of a type, or nil.
func identifier(v *googlebooks.Volume, kind string) *string {
	for _, id := range v.IndustryIdentifiers {
		if id.Type == kind {
			return id.Identifier
		}
	}
	return nil
}

// fixedBook returns the book of details-v1, which details.rb serves without
// ENABLE_EXTERNAL_BOOK_SERVICE.
func fixedBook(id int64) book {
	return book{
		ID:        id,
		Author:    new("William Shakespeare"),
		Year:      1595,
		Type:      "paperback",
		Pages:     new(int64(200)),
		Publisher: new("PublisherA"),
		Language:  "English",
		ISBN10:    new("1234567890"),
		ISBN13:    new("123-1234567890"),
	}
}
