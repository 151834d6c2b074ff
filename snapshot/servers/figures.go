package servers

// Figures are what mounts have done, beside how many requests of each kind came.
type Figures struct {
	CopyUps       uint64
	Known, Asked  uint64           // names and attributes: from memory, from a layer
	Read, Written uint64           // bytes
	Times         map[string]Times `json:",omitempty"` // by kind, of the requests that were timed
}

// Times is how long requests took.
type Times struct {
	Count   uint64
	Sum     float64          // seconds
	Buckets map[int64]uint64 // how many took at most so many nanoseconds
}

// Add adds what others have done.
func (f *Figures) Add(o *Figures) {
	if o == nil {
		return // of a server before there were figures
	}
	f.CopyUps += o.CopyUps
	f.Known += o.Known
	f.Asked += o.Asked
	f.Read += o.Read
	f.Written += o.Written
	for op, t := range o.Times {
		sum := f.Times[op]
		sum.Count += t.Count
		sum.Sum += t.Sum
		if sum.Buckets == nil {
			sum.Buckets = map[int64]uint64{}
		}
		for le, n := range t.Buckets {
			sum.Buckets[le] += n
		}
		if f.Times == nil {
			f.Times = map[string]Times{}
		}
		f.Times[op] = sum
	}
}
