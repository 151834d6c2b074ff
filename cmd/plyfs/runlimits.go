package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

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

func limitCPUSet(r *runRequest, v string) error {
	if v == "" || strings.Trim(v, "0123456789,-") != "" {
		return fmt.Errorf("%q is not a list of processors like 0-2,4", v)
	}
	r.spec.Limits.CPUSet = v
	return nil
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
