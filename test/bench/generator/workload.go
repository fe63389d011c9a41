package main

import (
	"fmt"
	"math/rand"
)

// A workload says which operation comes next, and on which key.
type workload struct {
	keys         int
	valueBytes   int
	reads        float64 // the part of operations that are reads
	distribution string
}

// The popularity of the key of rank k is proportional to (zipfOffset + k) ^ -zipfExponent: of 100,000 keys the most
// popular one gets 2% of the operations, the first hundred nearly 40%.
const (
	zipfExponent = 1.1
	zipfOffset   = 8
	// A prime that is no divisor of any number of keys below it: ranks are scattered over the keys, so that popular
	// keys are not neighbours.
	scatter = 2_654_435_761
	keysMax = 100_000_000
)

func (w workload) check() error {
	if w.keys < 1 || w.keys > keysMax || w.valueBytes < 1 || w.reads < 0 || w.reads > 1 {
		return fmt.Errorf("keys %d, value bytes %d, reads %g: wanted 1 to %d, at least 1, 0 to 1", w.keys, w.valueBytes, w.reads, keysMax)
	}
	if w.distribution != "zipfian" && w.distribution != "uniform" {
		return fmt.Errorf("-distribution %q: wanted zipfian or uniform", w.distribution)
	}
	return nil
}

// chooser returns a function that draws keys, 0 to w.keys - 1.
func (w workload) chooser(random *rand.Rand) func() int {
	if w.distribution == "uniform" || w.keys == 1 {
		return func() int { return random.Intn(w.keys) }
	}
	zipf := rand.NewZipf(random, zipfExponent, zipfOffset, uint64(w.keys-1))
	return func() int { return int(zipf.Uint64() * scatter % uint64(w.keys)) }
}

// A valuePool gives values that do not compress, and that differ, at no cost: windows of random bytes.
type valuePool struct {
	bytes      []byte
	valueBytes int
}

const poolBytes = 1 << 20

func (w workload) values() valuePool {
	bytes := make([]byte, poolBytes+w.valueBytes)
	rand.New(rand.NewSource(1)).Read(bytes)
	return valuePool{bytes, w.valueBytes}
}

func (p valuePool) draw(random *rand.Rand) []byte {
	start := random.Intn(poolBytes)
	return p.bytes[start : start+p.valueBytes]
}

// keyNames are `user` and 19 digits, as in YCSB.
func (w workload) keyNames() []string {
	names := make([]string, w.keys)
	for i := range names {
		names[i] = fmt.Sprintf("user%019d", i)
	}
	return names
}
