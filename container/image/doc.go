// Package image is the store of images: which there are, what they consist of,
// and where their layers lie unpacked. It is on the start path of `plyfs run
// IMAGE`, so it only reads and writes small JSON files; whatever needs a
// network, a hash or a decompressor is in package ship, which another program
// links.
//
// # On disk
//
//	ROOT/images/oci-layout, index.json, blobs/sha256/HEX    an OCI image layout
//	ROOT/images/partial/HEX[.lock]    a blob that is being fetched; flock'ed
//	ROOT/images/layers/HEX/fs         an unpacked layer, by its chain id
//	ROOT/images/layers/HEX/info.json  what it is; written before the rename
//	ROOT/images/layers/.HEX.*         being made or being removed
//	ROOT/images/layers/HEX.lock       who unpacks it
//
// What index.json names is there for readers, and so is all that it refers to.
// A layer or a blob that it doesn't lead to is garbage, save layers that the
// description of a container names.
//
// # Locks
//
//	use.lock         shared while somebody adds, or reads what must not vanish;
//	                 exclusive while garbage is removed
//	  HEX.lock       one blob, or one layer
//	  settle.lock    while layers are marked as being on the disk
//	    index.lock   while index.json is replaced
package image
