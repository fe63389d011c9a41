package main

import (
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

const (
	loadWorkers = 64
	// A load that cannot write a key in this many attempts ends the run: percentiles of reads that find nothing are
	// of no use.
	loadAttempts = 20
	// A worker of a closed loop waits so long after an error, lest a store that refuses everything be asked a
	// million times a second.
	errorPause = 10 * time.Millisecond
	// Operations of an open loop that were due are carried out, however late; for so long after the last was due.
	overtime      = 30 * time.Second
	latencyMaxUs  = 60_000_000
	latencyDigits = 3
)

type loadReport struct {
	Kind         string  `json:"kind"` // load
	Keys         int     `json:"keys"`
	Seconds      float64 `json:"seconds"`
	FailedWrites int64   `json:"failedWrites"` // each was repeated
}

type caseReport struct {
	Kind          string  `json:"kind"` // case
	Path          string  `json:"path"`
	Workers       int     `json:"workers"`
	RatePerSecond int     `json:"ratePerSecond"` // 0: closed loop
	ReadFraction  float64 `json:"readFraction"`
	Distribution  string  `json:"distribution"`
	ValueBytes    int     `json:"valueBytes"`
	Seconds       float64 `json:"seconds"` // from the first operation's start to the last one's answer
	Errors        int64   `json:"errors"`
	FirstError    string  `json:"firstError,omitempty"`
	// Operations of an open loop that were due and never begun: the store was too far behind.
	NotBegun int64 `json:"notBegun"`
	// Values that reads returned, siblings counted one by one.
	ValuesRead int64 `json:"valuesRead"`
	// Of the servers, by process id; what is resident at the end.
	ServerCPUSeconds    map[string]float64 `json:"serverCpuSeconds"`
	ServerResidentBytes map[string]int64   `json:"serverResidentBytes"`
	GeneratorCPUSeconds float64            `json:"generatorCpuSeconds"`
	Reads               histogram          `json:"reads"`
	Writes              histogram          `json:"writes"`
}

// runReport is of everything from the first key loaded to the end of the last case, warm-ups included: a store writes
// much of what it is given minutes later.
type runReport struct {
	Kind               string           `json:"kind"` // run
	ValueBytesWritten  int64            `json:"valueBytesWritten"`
	ServerBytesWritten map[string]int64 `json:"serverBytesWritten"` // by process id
}

// histogram holds latencies in microseconds of operations that succeeded.
type histogram struct{ *hdr.Histogram }

func newHistogram() histogram { return histogram{hdr.New(1, latencyMaxUs, latencyDigits)} }

func (h histogram) record(latency time.Duration) {
	_ = h.RecordValue(max(1, min(latency.Microseconds(), latencyMaxUs))) // cannot be out of range
}

// MarshalText gives the compressed V2 encoding in base64, which HdrHistogram reads in every language.
func (h histogram) MarshalText() ([]byte, error) {
	return h.Encode(hdr.V2CompressedEncodingCookieBase)
}

func loadKeys(target store, data dataSet) (loadReport, error) {
	values := data.values()
	var next, failed atomic.Int64
	var first firstError
	var workers sync.WaitGroup
	start := time.Now()
	for worker := range loadWorkers {
		workers.Go(func() {
			random := rand.New(rand.NewSource(int64(worker)))
			for first.get() == nil {
				key := int(next.Add(1) - 1)
				if key >= data.keys {
					return
				}
				for attempt := 1; ; attempt++ {
					err := target.put(key, values.draw(random))
					if err == nil {
						break
					}
					failed.Add(1)
					if attempt == loadAttempts || errors.Is(err, errLost) {
						first.set(fmt.Errorf("key %d of %d cannot be loaded, after %d attempts: %w", key, data.keys, attempt, err))
						return
					}
					time.Sleep(errorPause * time.Duration(attempt))
				}
			}
		})
	}
	workers.Wait()
	return loadReport{"load", data.keys, time.Since(start).Seconds(), failed.Load()}, first.get()
}

// measure runs a case for a duration. An error is the end of the run, not of an operation.
func measure(target store, data dataSet, c loadCase, duration time.Duration, pids []string) (caseReport, error) {
	values := data.values()
	report := caseReport{
		Kind: "case", Path: c.path, Workers: c.workers, RatePerSecond: c.rate,
		ReadFraction: c.reads, Distribution: c.distribution, ValueBytes: data.valueBytes,
		Reads: newHistogram(), Writes: newHistogram(),
	}
	var failed, notBegun, valuesRead, due atomic.Int64
	var first, lost firstError
	var merging sync.Mutex
	var workers sync.WaitGroup
	serversBefore, err := usageOf(pids)
	if err != nil {
		return report, err
	}
	selfBefore, err := usageOf([]string{"self"})
	if err != nil {
		return report, err
	}
	begin := time.Now()
	end := begin.Add(duration)
	// Waits until the next operation is due, and says when that was; false when none is left.
	next := func() (time.Time, bool) {
		if c.rate == 0 {
			now := time.Now()
			return now, now.Before(end)
		}
		for {
			at := begin.Add(time.Duration(float64(due.Add(1)-1) / float64(c.rate) * float64(time.Second)))
			if !at.Before(end) {
				return at, false
			}
			if time.Now().After(end.Add(overtime)) {
				notBegun.Add(1)
				continue
			}
			time.Sleep(time.Until(at))
			return at, true
		}
	}
	for worker := range c.workers {
		workers.Go(func() {
			random := rand.New(rand.NewSource(begin.UnixNano() + int64(worker)))
			choose := data.chooser(c.distribution, random)
			reads, writes := newHistogram(), newHistogram()
			for lost.get() == nil {
				start, more := next()
				if !more {
					break
				}
				key, isRead := choose(), random.Float64() < c.reads
				var err error
				if isRead {
					var found int
					found, err = target.get(key)
					valuesRead.Add(int64(found))
				} else {
					err = target.put(key, values.draw(random))
				}
				switch {
				case errors.Is(err, errLost):
					lost.set(err)
				case err != nil:
					failed.Add(1)
					first.set(err)
					if c.rate == 0 {
						time.Sleep(errorPause)
					}
				case isRead:
					reads.record(time.Since(start))
				default:
					writes.record(time.Since(start))
				}
			}
			merging.Lock()
			defer merging.Unlock()
			report.Reads.Merge(reads.Histogram)
			report.Writes.Merge(writes.Histogram)
		})
	}
	workers.Wait()
	report.Seconds = time.Since(begin).Seconds()
	if err := lost.get(); err != nil {
		return report, err
	}
	serversAfter, err := usageOf(pids)
	if err != nil {
		return report, err
	}
	selfAfter, err := usageOf([]string{"self"})
	if err != nil {
		return report, err
	}
	report.ServerCPUSeconds = byProcess(serversAfter, func(pid string, u usage) float64 { return u.cpuSeconds - serversBefore[pid].cpuSeconds })
	report.ServerResidentBytes = byProcess(serversAfter, func(_ string, u usage) int64 { return u.residentBytes })
	report.GeneratorCPUSeconds = selfAfter["self"].cpuSeconds - selfBefore["self"].cpuSeconds
	report.Errors, report.NotBegun, report.ValuesRead = failed.Load(), notBegun.Load(), valuesRead.Load()
	if err := first.get(); err != nil {
		report.FirstError = err.Error()
	}
	return report, nil
}

// errLost marks errors after which nothing more can be measured.
var errLost = errors.New("session lost")

type firstError struct{ pointer atomic.Pointer[error] }

func (f *firstError) set(err error) { f.pointer.CompareAndSwap(nil, &err) }

func (f *firstError) get() error {
	if err := f.pointer.Load(); err != nil {
		return *err
	}
	return nil
}
