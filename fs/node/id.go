package node

// ID names a node for as long as the kernel may use it: the record's index in
// the low half, its generation in the high half. It is the nodeid of FUSE.
type ID uint64

// Root is the node of the mount's root directory.
const Root ID = 1

// None is no node.
const None ID = 0

// Make builds an ID.
func Make(index, gen uint32) ID { return ID(gen)<<32 | ID(index) }

// Index is the number of the record.
func (id ID) Index() uint32 { return uint32(id) }

// Gen is the generation of the record.
func (id ID) Gen() uint32 { return uint32(id >> 32) }
