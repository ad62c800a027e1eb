package googlebooks

// Volume is one edition of a book in Google Books: the part of volumeInfo that
// callers need. A nil pointer is a field that Google omitted or set to null: a
// missing page count is not 0.
type Volume struct {
	Authors             []*string    `json:"authors"`
	Publisher           *string      `json:"publisher"`
	PublishedDate       *string      `json:"publishedDate"` // 2002-09-19, 1996-06, 2013, 19??, …
	IndustryIdentifiers []Identifier `json:"industryIdentifiers"`
	PageCount           *int64       `json:"pageCount"`
	PrintType           *string      `json:"printType"` // BOOK or MAGAZINE
	Language            *string      `json:"language"`  // BCP 47: en, pt-BR, …
}

// Identifier is one of a volume's identifiers, such as an ISBN. Their order
// means nothing.
type Identifier struct {
	Type       string  `json:"type"` // ISBN_10, ISBN_13, ISSN or OTHER
	Identifier *string `json:"identifier"`
}

// has reports whether the ISBN is one of the volume's identifiers.
func (v *Volume) has(isbn ISBN) bool {
	for _, id := range v.IndustryIdentifiers {
		if (id.Type == "ISBN_10" || id.Type == "ISBN_13") && id.Identifier != nil && isbn.matches(*id.Identifier) {
			return true
		}
	}
	return false
}
