// Command generator drives one running store, Cartwheel or etcd, through a list of cases with one mix of reads and
// writes, and prints what each case measured as one line of JSON. test/bench/peers.ts builds it, starts the stores
// and reads the lines; it can be run by hand as well:
//
//	generator -store etcd -endpoints 127.0.0.1:2379 -load -case default:64 -case default:256@2000
//
// A case is PATH:WORKERS or PATH:WORKERS@RATE. PATH is `direct` (to the coordinator that the ring names) or `router`
// for Cartwheel, `default` for etcd. Without a rate each worker begins its next operation when its last one has been
// answered (closed loop); with one, operations are due at RATE a second whatever the store does (open loop).
//
// All cases of a run are in one process because a Cartwheel client remembers the context of each key it has seen: a
// process that had forgotten them would write blindly, which adds siblings that no real client would make.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// A store answers operations on keys by number. Both calls may be made by many goroutines at once.
type store interface {
	// get returns how many values the key has: 0 where it has none, more than 1 where there are siblings.
	get(key int) (values int, err error)
	put(key int, value []byte) error
}

type loadCase struct {
	path    string
	workers int
	rate    int // operations a second; 0: closed loop
}

type caseList []loadCase

func (l *caseList) String() string { return fmt.Sprint(*l) }

func (l *caseList) Set(text string) error {
	path, load, _ := strings.Cut(text, ":")
	workersText, rateText, isOpen := strings.Cut(load, "@")
	workers, err := strconv.Atoi(workersText)
	rate := 0
	if err == nil && isOpen {
		rate, err = strconv.Atoi(rateText)
	}
	if err != nil || path == "" || workers < 1 || rate < 0 || isOpen && rate == 0 {
		return fmt.Errorf("wanted PATH:WORKERS or PATH:WORKERS@RATE, such as direct:64")
	}
	*l = append(*l, loadCase{path, workers, rate})
	return nil
}

func main() {
	var cases caseList
	var mix workload
	kind := flag.String("store", "cartwheel", "cartwheel or etcd")
	endpoints := flag.String("endpoints", "", "host:port,host:port: etcd's members; Cartwheel's storage nodes")
	routers := flag.String("routers", "", "host:port,host:port: Cartwheel's routers, for cases of the path router")
	load := flag.Bool("load", false, "write every key once before the first case")
	seconds := flag.Int("seconds", 20, "measured seconds of a case")
	warmup := flag.Int("warmup", 10, "seconds of the same load before the measured ones")
	pids := flag.String("pids", "", "process ids of the servers, for their CPU time")
	flag.IntVar(&mix.keys, "keys", 100_000, "number of keys")
	flag.IntVar(&mix.valueBytes, "value-bytes", 1024, "size of a value")
	flag.Float64Var(&mix.reads, "reads", 0.5, "the part of operations that are reads, 0 to 1")
	flag.StringVar(&mix.distribution, "distribution", "zipfian", "zipfian or uniform")
	flag.Var(&cases, "case", "PATH:WORKERS or PATH:WORKERS@RATE; repeatable")
	flag.Parse()
	if err := run(*kind, split(*endpoints), split(*routers), mix, cases, *load, *seconds, *warmup, split(*pids)); err != nil {
		fmt.Fprintf(os.Stderr, "generator: %v\n", err)
		os.Exit(1)
	}
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

func run(kind string, endpoints, routers []string, mix workload, cases caseList, load bool, seconds, warmup int, pids []string) error {
	if err := mix.check(); err != nil {
		return err
	}
	if len(endpoints) == 0 || seconds < 1 || warmup < 0 {
		return errors.New("wanted -endpoints, and at least 1 of -seconds and 0 of -warmup")
	}
	// The collector of this process shares the cores with the servers; a few hundred megabytes are cheaper.
	debug.SetGCPercent(400)
	stores, err := open(kind, endpoints, routers, mix, cases)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if load && len(cases) > 0 {
		report, err := loadKeys(stores[cases[0].path], mix)
		if err != nil {
			return err
		}
		if err := out.Encode(report); err != nil {
			return err
		}
	}
	for _, c := range cases {
		target := stores[c.path]
		if warmup > 0 {
			if _, err := measure(target, mix, c, time.Duration(warmup)*time.Second, pids); err != nil {
				return err
			}
		}
		report, err := measure(target, mix, c, time.Duration(seconds)*time.Second, pids)
		if err != nil {
			return err
		}
		if err := out.Encode(report); err != nil {
			return err
		}
	}
	return nil
}

// open connects to the store by each path that a case names.
func open(kind string, endpoints, routers []string, mix workload, cases caseList) (map[string]store, error) {
	var connect func(path string) (store, error)
	switch kind {
	case "etcd":
		connect = func(path string) (store, error) {
			if path != "default" {
				return nil, fmt.Errorf("etcd has the path default, not %q", path)
			}
			return openEtcd(endpoints, mix)
		}
	case "cartwheel":
		known := newKnownKeys(mix)
		connect = func(path string) (store, error) {
			switch path {
			case "direct":
				return openDirect(endpoints, known)
			case "router":
				return openThroughRouters(routers, known)
			}
			return nil, fmt.Errorf("cartwheel has the paths direct and router, not %q", path)
		}
	default:
		return nil, fmt.Errorf("-store %q: wanted cartwheel or etcd", kind)
	}
	stores := map[string]store{}
	for _, c := range cases {
		if stores[c.path] != nil {
			continue
		}
		opened, err := connect(c.path)
		if err != nil {
			return nil, err
		}
		stores[c.path] = opened
	}
	return stores, nil
}
