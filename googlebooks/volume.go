package googlebooks

// Volume is what Google Books knows of one edition of a book: the part of
// volumeInfo that callers need. A nil pointer is a field that Google left out
// or set to null: no page count is not a count of 0.
type Volume struct {
	Authors             []*string    `json:"authors"`
	Publisher           *string      `json:"publisher"`
	PublishedDate       *string      `json:"publishedDate"` // 2002-09-19, 1996-06, 2013, 19??, …
	IndustryIdentifiers []Identifier `json:"industryIdentifiers"`
	PageCount           *int64       `json:"pageCount"`
	PrintType           *string      `json:"printType"` // BOOK or MAGAZINE
	Language            *string      `json:"language"`  // BCP 47: en, pt-BR, …
}

// Identifier is one of a volume's numbers. Their order means nothing.
type Identifier struct {
	Type       string  `json:"type"` // ISBN_10, ISBN_13, ISSN or OTHER
	Identifier *string `json:"identifier"`
}

// has reports whether the ISBN is one of the volume's numbers.
func (v *Volume) has(isbn ISBN) bool {
	for _, id := range v.IndustryIdentifiers {
		if (id.Type == "ISBN_10" || id.Type == "ISBN_13") && id.Identifier != nil && isbn.matches(*id.Identifier) {
			return true
		}
	}
	return false
}
