package main

import (
	"fmt"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/cgroup"
)

// limitUsage is part of the help of run and of update.
const limitUsage = `  -m, --memory BYTES, --memory-swap BYTES   memory, and memory with swap (-1: any)
  --cpus N, --cpu-shares N   processors, and a share of them when they are short
  --cpuset-cpus LIST, --cpuset-mems LIST   which processors, which memory nodes
  --pids-limit N         processes (-1: any)
  --blkio-weight N       a share of the disks, from 10 to 1000
  --device-read-bps DISK:BYTES, --device-write-bps DISK:BYTES,
  --device-read-iops DISK:N, --device-write-iops DISK:N   in a second (0: any)
  --hugetlb SIZE=BYTES   huge pages of a size, as 2MB=64m
`

// limitFlags are the flags of run and update for limits.
func limitFlags() map[string]setter {
	all := map[string]setter{
		"m": limitMemory, "memory": limitMemory, "memory-swap": limitSwap, "cpus": limitCPUs, "cpu-shares": limitShares,
		"cpuset-cpus": limitList(func(l *container.Limits) *string { return &l.CPUSet }),
		"cpuset-mems": limitList(func(l *container.Limits) *string { return &l.CPUSetMems }),
		"pids-limit":  limitPids, "blkio-weight": limitIO, "hugetlb": limitHuge,
	}
	for what, kind := range cgroup.RateKinds {
		all[kind.Flag] = limitRate(what)
	}
	return all
}

// limitRate reads DISK:RATE.
func limitRate(what string) setter {
	return func(r *runRequest, v string) error {
		at := strings.LastIndexByte(v, ':')
		if at <= 0 || !path.IsAbs(v) {
			return fmt.Errorf("%q: write /dev/DISK:RATE", v)
		}
		disk, text := v[:at], v[at+1:]
		st, err := os.Stat(disk)
		if err != nil {
			return err
		}
		if st.Mode()&os.ModeDevice == 0 || st.Mode()&os.ModeCharDevice != 0 {
			return fmt.Errorf("%s is not a disk", disk)
		}
		var n uint64
		switch {
		case text == "0":
		case strings.HasSuffix(what, "bps"):
			size, e := byteSize(text)
			n, err = uint64(size), e
		default:
			if n, err = strconv.ParseUint(text, 10, 32); err != nil {
				err = fmt.Errorf("%q is not a number of operations", text)
			}
		}
		r.spec.Limits.IORates = append(r.spec.Limits.IORates, cgroup.Rate{Device: disk, What: what, Value: n})
		return err
	}
}

// limitHuge reads SIZE=BYTES; the kernel's names of sizes are 64KB, 2MB, 1GB.
func limitHuge(r *runRequest, v string) error {
	size, text, ok := strings.Cut(v, "=")
	number := strings.TrimRight(size, "KMGB")
	if _, err := strconv.ParseUint(number, 10, 32); err != nil || !ok || !slices.Contains([]string{"KB", "MB", "GB"}, size[len(number):]) {
		return fmt.Errorf("%q: write SIZE=BYTES with a size of huge pages like 2MB", v)
	}
	var n int64
	var err error
	if text != "0" {
		n, err = byteSize(text)
	}
	if r.spec.Limits.HugePages == nil {
		r.spec.Limits.HugePages = map[string]uint64{}
	}
	r.spec.Limits.HugePages[size] = uint64(n)
	return err
}

// addTo adds the names of a table to a grammar.
func addTo(spec *cli.Spec, table map[string]setter, short, long string) {
	for name := range table {
		if len(name) == 1 {
			spec.Short += name + short
		} else {
			spec.Long = append(spec.Long, name+long)
		}
	}
}

// byteSize reads docker's sizes: a number with b, k, m, g or t after it.
func byteSize(v string) (int64, error) {
	digits, shift := strings.ToLower(v), 0
	digits = strings.TrimSuffix(digits, "b")
	digits = strings.TrimSuffix(digits, "i")
	if n := len(digits); n > 0 {
		if i := strings.IndexByte("kmgt", digits[n-1]); i >= 0 {
			digits, shift = digits[:n-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is not a size: write bytes, or a number with k, m or g after it", v)
	}
	return n << shift, nil
}

// leastMemory is what the kernel and docker take for the least.
const leastMemory = 6 << 20

func limitMemory(r *runRequest, v string) (err error) {
	if r.spec.Limits.Memory, err = byteSize(v); err == nil && r.spec.Limits.Memory < leastMemory {
		err = fmt.Errorf("%s is too little for any process: the least is 6m", v)
	}
	return err
}

func limitSwap(r *runRequest, v string) (err error) {
	if v == "-1" {
		r.spec.Limits.MemorySwap = -1
		return nil
	}
	r.spec.Limits.MemorySwap, err = byteSize(v)
	return err
}

func limitCPUs(r *runRequest, v string) error {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || n < 0.01 || n > 1e5 {
		return fmt.Errorf("%q is not a number of processors from 0.01", v)
	}
	r.spec.Limits.CPUs = n
	return nil
}

func limitShares(r *runRequest, v string) error {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n < 2 || n > 262144 {
		return fmt.Errorf("%q is not a number from 2 to 262144", v)
	}
	r.spec.Limits.CPUShares = n
	return nil
}

func limitList(field func(*container.Limits) *string) setter {
	return func(r *runRequest, v string) error {
		if v == "" || strings.Trim(v, "0123456789,-") != "" {
			return fmt.Errorf("%q is not a list like 0-2,4", v)
		}
		*field(&r.spec.Limits) = v
		return nil
	}
}

func limitPids(r *runRequest, v string) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n == 0 || n < -1 {
		return fmt.Errorf("%q is not a number of processes, or -1 for no limit", v)
	}
	r.spec.Limits.Pids = n
	return nil
}

func limitIO(r *runRequest, v string) error {
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n < 10 || n > 1000 {
		return fmt.Errorf("%q is not a weight from 10 to 1000", v)
	}
	r.spec.Limits.IOWeight = uint16(n)
	return nil
}

// checkSwap: memory and swap together can't be less than memory.
func checkSwap(l *container.Limits) error {
	if l.MemorySwap > 0 && l.Memory == 0 {
		return fmt.Errorf("--memory-swap counts memory and swap together: give --memory, too")
	}
	if l.MemorySwap > 0 && l.MemorySwap < l.Memory {
		return fmt.Errorf("--memory-swap counts memory and swap together: it can't be below --memory")
	}
	return nil
}
