package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// usage is what a process has used since it began, and the memory that it has now.
type usage struct {
	cpuSeconds    float64 // user and system
	bytesWritten  int64   // to disks: what was handed to the page cache, less what was thrown away before it was written
	residentBytes int64
}

// ticksPerSecond of /proc/PID/stat: USER_HZ, the same on every Linux that Go runs on.
const ticksPerSecond = 100

func usageOf(pids []string) (map[string]usage, error) {
	all := map[string]usage{}
	for _, pid := range pids {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return nil, fmt.Errorf("process %s is gone: %w", pid, err)
		}
		// The second field is the name in parentheses, and may hold anything; utime and stime are the 14th and 15th.
		text := string(stat)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		user, errUser := strconv.Atoi(fields[11])
		system, errSystem := strconv.Atoi(fields[12])
		io, errIO := numbersOf("/proc/"+pid+"/io", "write_bytes", "cancelled_write_bytes")
		status, errStatus := numbersOf("/proc/"+pid+"/status", "VmRSS")
		if err := errors.Join(errUser, errSystem, errIO, errStatus); err != nil {
			return nil, fmt.Errorf("/proc/%s: %w", pid, err)
		}
		all[pid] = usage{
			cpuSeconds:    float64(user+system) / ticksPerSecond,
			bytesWritten:  io["write_bytes"] - io["cancelled_write_bytes"],
			residentBytes: status["VmRSS"] * 1024, // given in kB
		}
	}
	return all, nil
}

// numbersOf reads lines of `name: number`, as files of /proc have them.
func numbersOf(file string, names ...string) (map[string]int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	numbers := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		words := strings.Fields(rest)
		if len(words) == 0 {
			continue
		}
		if number, err := strconv.ParseInt(words[0], 10, 64); err == nil {
			numbers[name] = number
		}
	}
	for _, name := range names {
		if _, isThere := numbers[name]; !isThere {
			return nil, fmt.Errorf("%s has no number %s", file, name)
		}
	}
	return numbers, nil
}

func byProcess[T any](all map[string]usage, figure func(pid string, u usage) T) map[string]T {
	figures := map[string]T{}
	for pid, u := range all {
		figures[pid] = figure(pid, u)
	}
	return figures
}
