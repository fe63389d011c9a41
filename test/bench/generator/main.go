// Command generator drives one running store, Cartwheel, etcd or Cassandra, through a list of cases and prints what each
// measured as one line of JSON. test/bench/peers.ts builds it, starts the stores and reads the lines; it can be run by
// hand as well:
//
//	generator -store etcd -endpoints 127.0.0.1:2379 -load -case default:64 -case default:256@2000,reads=0.95,uniform
//
// A case is PATH:WORKERS[@RATE][,reads=FRACTION][,zipfian|uniform]. PATH is `direct` (to the coordinator that the ring
// names) or `router` for Cartwheel, `default` for the others. Without a rate each worker begins its next operation when
// its last one has been answered (closed loop); with one, operations are due at RATE a second whatever the store does
// (open loop).
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
	"strings"
	"time"
)

// A store answers operations on keys by number. Both calls may be made by many goroutines at once.
type store interface {
	// get returns how many values the key has: 0 where it has none, more than 1 where there are siblings.
	get(key int) (values int, err error)
	put(key int, value []byte) error
}

type options struct {
	kind               string
	endpoints, routers []string
	pids               []string
	data               dataSet
	cases              caseList
	load               bool
	seconds            int
	warmup             int // before the measured seconds of each case
	firstWarmup        int // instead of warmup, before the first case of a path
}

func main() {
	var o options
	flag.StringVar(&o.kind, "store", "cartwheel", "cartwheel, etcd or cassandra")
	endpoints := flag.String("endpoints", "", "host:port,host:port: etcd's members; Cassandra's or Cartwheel's nodes")
	routers := flag.String("routers", "", "host:port,host:port: Cartwheel's routers, for cases of the path router")
	flag.BoolVar(&o.load, "load", false, "write every key once before the first case")
	flag.IntVar(&o.seconds, "seconds", 20, "measured seconds of a case")
	flag.IntVar(&o.warmup, "warmup", 10, "seconds of the same load before the measured ones")
	flag.IntVar(&o.firstWarmup, "first-warmup", 10, "the same, before the first case of each path")
	pids := flag.String("pids", "", "process ids of the servers, for their CPU time, memory and writes")
	flag.IntVar(&o.data.keys, "keys", 100_000, "number of keys")
	flag.IntVar(&o.data.valueBytes, "value-bytes", 1024, "size of a value")
	flag.Var(&o.cases, "case", "PATH:WORKERS[@RATE][,reads=FRACTION][,zipfian|uniform]; repeatable; half reads, zipfian")
	flag.Parse()
	o.endpoints, o.routers, o.pids = split(*endpoints), split(*routers), split(*pids)
	if err := run(o); err != nil {
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

func run(o options) error {
	if err := o.data.check(); err != nil {
		return err
	}
	if len(o.endpoints) == 0 || o.seconds < 1 || o.warmup < 0 || o.firstWarmup < 0 {
		return errors.New("wanted -endpoints, and at least 1 of -seconds, 0 of -warmup and of -first-warmup")
	}
	// The collector of this process shares the cores with the servers; a few hundred megabytes are cheaper.
	debug.SetGCPercent(400)
	before, err := usageOf(o.pids)
	if err != nil {
		return err
	}
	stores, err := open(o)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	total := runReport{Kind: "run"}
	if o.load && len(o.cases) > 0 {
		report, err := loadKeys(stores[o.cases[0].path], o.data)
		if err != nil {
			return err
		}
		if err := out.Encode(report); err != nil {
			return err
		}
		total.ValueBytesWritten += int64(o.data.keys) * int64(o.data.valueBytes)
	}
	isWarm := map[string]bool{}
	for _, c := range o.cases {
		target := stores[c.path]
		warmup := o.warmup
		if !isWarm[c.path] {
			warmup = o.firstWarmup
			isWarm[c.path] = true
		}
		if warmup > 0 {
			report, err := measure(target, o.data, c, time.Duration(warmup)*time.Second, o.pids)
			if err != nil {
				return err
			}
			total.ValueBytesWritten += report.Writes.TotalCount() * int64(o.data.valueBytes)
		}
		report, err := measure(target, o.data, c, time.Duration(o.seconds)*time.Second, o.pids)
		if err != nil {
			return err
		}
		total.ValueBytesWritten += report.Writes.TotalCount() * int64(o.data.valueBytes)
		if err := out.Encode(report); err != nil {
			return err
		}
	}
	after, err := usageOf(o.pids)
	if err != nil {
		return err
	}
	total.ServerBytesWritten = byProcess(after, func(pid string, u usage) int64 { return u.bytesWritten - before[pid].bytesWritten })
	return out.Encode(total)
}

// open connects to the store by each path that a case names.
func open(o options) (map[string]store, error) {
	var connect func() (store, error) // for stores with one path
	var known *knownKeys // shared by the paths
	switch o.kind {
	case "cartwheel":
		known = newKnownKeys(o.data)
	case "etcd":
		connect = func() (store, error) { return openEtcd(o.endpoints, o.data) }
	case "cassandra":
		connect = func() (store, error) { return openCassandra(o.endpoints, o.data) }
	default:
		return nil, fmt.Errorf("-store %q: wanted cartwheel, etcd or cassandra", o.kind)
	}
	stores := map[string]store{}
	for _, c := range o.cases {
		if stores[c.path] != nil {
			continue
		}
		var opened store
		var err error
		switch {
		case connect != nil && c.path == "default":
			opened, err = connect()
		case connect == nil && c.path == "direct":
			opened, err = openDirect(o.endpoints, known)
		case connect == nil && c.path == "router":
			opened, err = openThroughRouters(o.routers, known)
		default:
			err = fmt.Errorf("cartwheel has the paths direct and router, the others default; saw %s with %q", o.kind, c.path)
		}
		if err != nil {
			return nil, err
		}
		stores[c.path] = opened
	}
	return stores, nil
}
