package googlebooks

// Volume is what Google Books knows of one edition of a book: the part of
// volumeInfo that callers need. A nil pointer is a field that Google left out
// or gave as null: a book of no stated length is not a book of no pages.
type Volume struct {
	Authors             []*string
	Publisher           *string
	PublishedDate       *string // 2002-09-19, 1996-06, 2013, 19??, …
	IndustryIdentifiers []Identifier
	PageCount           *int64
	PrintType           *string // BOOK or MAGAZINE
	Language            *string // BCP 47: en, pt-BR, …
}

// Identifier is one of a volume's numbers. Their order means nothing.
type Identifier struct {
	Type       string // ISBN_10, ISBN_13, ISSN or OTHER
	Identifier *string
}
