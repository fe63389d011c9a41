package main

import (
	"fmt"
	"strconv"
	"strings"
)

// A loadCase is one load by one path, with its own mix of operations.
type loadCase struct {
	path         string
	workers      int
	rate         int     // operations a second; 0: closed loop
	reads        float64 // the part of operations that are reads
	distribution string  // of the keys: zipfian or uniform
}

type caseList []loadCase

func (l *caseList) String() string { return fmt.Sprint(*l) }

func (l *caseList) Set(text string) error {
	c, err := parseCase(text)
	if err != nil {
		return fmt.Errorf("wanted PATH:WORKERS[@RATE][,reads=FRACTION][,zipfian|uniform], such as direct:64: %w", err)
	}
	*l = append(*l, c)
	return nil
}

func parseCase(text string) (loadCase, error) {
	c := loadCase{reads: 0.5, distribution: "zipfian"}
	words := strings.Split(text, ",")
	path, load, _ := strings.Cut(words[0], ":")
	workers, rate, isOpen := strings.Cut(load, "@")
	c.path = path
	var err error
	if c.workers, err = strconv.Atoi(workers); err != nil {
		return c, err
	}
	if isOpen {
		if c.rate, err = strconv.Atoi(rate); err != nil {
			return c, err
		}
	}
	if path == "" || c.workers < 1 || c.rate < 0 || isOpen && c.rate == 0 {
		return c, fmt.Errorf("path %q, %d workers, rate %d", path, c.workers, c.rate)
	}
	for _, word := range words[1:] {
		reads, isReads := strings.CutPrefix(word, "reads=")
		switch {
		case isReads:
			if c.reads, err = strconv.ParseFloat(reads, 64); err != nil || !(c.reads >= 0 && c.reads <= 1) {
				return c, fmt.Errorf("reads=%s is no fraction from 0 to 1", reads)
			}
		case word == "zipfian" || word == "uniform":
			c.distribution = word
		default:
			return c, fmt.Errorf("%q is unknown", word)
		}
	}
	return c, nil
}
