package main

import (
	"fmt"
	"math/rand"
)

// A dataSet says what is loaded, and what the operations of every case are on.
type dataSet struct {
	keys       int
	valueBytes int
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

func (d dataSet) check() error {
	if d.keys < 1 || d.keys > keysMax || d.valueBytes < 1 {
		return fmt.Errorf("keys %d, value bytes %d: wanted 1 to %d, at least 1", d.keys, d.valueBytes, keysMax)
	}
	return nil
}

// chooser returns a function that draws keys, 0 to d.keys - 1.
func (d dataSet) chooser(distribution string, random *rand.Rand) func() int {
	if distribution == "uniform" || d.keys == 1 {
		return func() int { return random.Intn(d.keys) }
	}
	zipf := rand.NewZipf(random, zipfExponent, zipfOffset, uint64(d.keys-1))
	return func() int { return int(zipf.Uint64() * scatter % uint64(d.keys)) }
}

// A valuePool gives values that do not compress, and that differ, at no cost: windows of random bytes.
type valuePool struct {
	bytes      []byte
	valueBytes int
}

const poolBytes = 1 << 20

func (d dataSet) values() valuePool {
	bytes := make([]byte, poolBytes+d.valueBytes)
	rand.New(rand.NewSource(1)).Read(bytes)
	return valuePool{bytes, d.valueBytes}
}

func (p valuePool) draw(random *rand.Rand) []byte {
	start := random.Intn(poolBytes)
	return p.bytes[start : start+p.valueBytes]
}

// keyNames are `user` and 19 digits, as in YCSB.
func (d dataSet) keyNames() []string {
	names := make([]string, d.keys)
	for i := range names {
		names[i] = fmt.Sprintf("user%019d", i)
	}
	return names
}
