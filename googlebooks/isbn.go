package googlebooks

import (
	"fmt"
	"strings"
)

// ISBN is an International Standard Book Number of ten or thirteen digits, with
// a valid check digit and without hyphens. An X is in upper case. ParseISBN
// returns one.
type ISBN string

// ParseISBN parses an ISBN-10 or an ISBN-13. It drops hyphens and spaces, which
// carry no meaning, and accepts a check digit x in either case. The error says
// what is wrong with s.
func ParseISBN(s string) (ISBN, error) {
	isbn := ISBN(normalizeISBN(s))
	for i, c := range isbn {
		if (c < '0' || c > '9') && (c != 'X' || i != 9 || len(isbn) != 10) {
			return "", fmt.Errorf("invalid ISBN %q: it contains %q", s, c)
		}
	}

	var want byte
	switch {
	case len(isbn) == 10:
		want = checkDigit10(isbn[:9])
	case len(isbn) == 13 && (strings.HasPrefix(string(isbn), "978") || strings.HasPrefix(string(isbn), "979")):
		want = checkDigit13(isbn[:12])
	default:
		return "", fmt.Errorf("invalid ISBN %q: want ten digits, or thirteen that begin with 978 or 979", s)
	}
	if got := isbn[len(isbn)-1]; got != want {
		return "", fmt.Errorf("invalid ISBN %q: the check digit is %c, want %c", s, got, want)
	}
	return isbn, nil
}

// matches reports whether identifier, as written in one of Google's volumes,
// is this ISBN in either of its forms.
func (i ISBN) matches(identifier string) bool {
	if normalizeISBN(identifier) == string(i) {
		return true
	}
	other, err := ParseISBN(identifier)
	return err == nil && other.isbn13() == i.isbn13()
}

// isbn13 returns the ISBN with thirteen digits. For an ISBN-10, that is 978,
// its first nine digits and a new check digit (ISO 2108).
func (i ISBN) isbn13() ISBN {
	if len(i) != 10 {
		return i
	}
	first := "978" + i[:9]
	return first + ISBN(checkDigit13(first))
}

func normalizeISBN(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '-', ' ':
			return -1
		case 'x':
			return 'X'
		}
		return r
	}, s)
}

// checkDigit10 returns the tenth digit for the first nine: all ten, weighted 10
// down to 1, add up to a multiple of eleven (ISO 2108).
func checkDigit10(first ISBN) byte {
	sum := 0
	for i := range len(first) {
		sum += int(first[i]-'0') * (10 - i)
	}
	return "0X987654321"[sum%11]
}

// checkDigit13 returns the last digit for the first twelve: all thirteen,
// weighted 1, 3, 1, 3, …, add up to a multiple of ten (ISO 2108).
func checkDigit13(first ISBN) byte {
	sum := 0
	for i := range len(first) {
		sum += int(first[i]-'0') * (1 + i%2*2)
	}
	return "0987654321"[sum%10]
}
