package googlebookstest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Share is a fault and the percentage of requests that get it.
type Share struct {
	Fault   Fault
	Percent float64
}

// ParseShares reads NAME[:PERCENT][,NAME[:PERCENT]…]. A name without a
// percentage gets 100%.
func ParseShares(text string) ([]Share, error) {
	var shares []Share
	faults, sum := faultsByName(), 0.0
	for item := range strings.SplitSeq(text, ",") {
		name, number, found := strings.Cut(strings.TrimSpace(item), ":")
		fault, known := faults[name]
		if !known {
			return nil, fmt.Errorf("unknown fault %q", name)
		}
		if !found {
			number = "100"
		}
		percent, err := strconv.ParseFloat(strings.TrimSuffix(number, "%"), 64)
		if err != nil || percent <= 0 || math.IsNaN(percent) {
			return nil, fmt.Errorf("invalid percentage %q: want a number above 0", number)
		}
		sum += percent
		shares = append(shares, Share{fault, percent})
	}
	if sum > 100.0001 { // 0.2 + 86.9 + 12.9 is more than 100 in binary
		return nil, fmt.Errorf("the percentages add up to %v: want at most 100", sum)
	}
	return shares, nil
}
