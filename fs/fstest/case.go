package fstest

import "testing"

// Need is what a case can't do without.
type Need uint

// The needs of cases.
const (
	NeedUnion   Need = 1 << iota // layers: not a plain directory
	NeedUsers                    // to act as other users, and to own files as them
	NeedDevices                  // mknod of real devices, and opening them
	NeedTrusted                  // trusted.* and security.* xattrs
	NeedModes                    // modes and owners kept as such in the upper
	NeedOwn                      // a mount of its own: the case unmounts, or works on the layers
	NeedInitNS                   // to be root outside any user namespace
)

var needReason = map[Need]string{
	NeedUnion:   "there are no layers in a plain directory",
	NeedUsers:   "with one mapped id there is no other user",
	NeedDevices: "mknod of devices is refused in a user namespace",
	NeedTrusted: "trusted xattrs and capabilities need CAP_SYS_ADMIN of the host",
	NeedModes:   "owners and modes are kept as data",
	NeedOwn:     "a plain directory has no mount",
	NeedInitNS:  "the case needs root of the host",
}

// Case is one behaviour.
type Case struct {
	Family string // the file that it comes from
	Name   string // one sentence, in the present tense

	// Lower is the bottom layer, Over what lies on it, lowest first. On
	// fewer layers than that they are merged.
	Lower Tree
	Over  []Tree

	Needs Need
	RO    bool // changes nothing: runs on read-only mounts, too
	Big   bool // costs seconds to prepare: only on the variants that say so

	// Not gives the reason why the case doesn't run on a kind of
	// filesystem; Differs why something else is asserted there (ask
	// Env.Differs). Keys are kinds or variant names.
	Not     map[string]string
	Differs map[string]string

	Run func(t *testing.T, e *Env)
}

// families are the case files.
var families = []struct {
	name  string
	cases func() []Case
}{
	{"lookup", lookupCases},
	{"readdir", readdirCases},
	{"create", createCases},
	{"dirs", dirsCases},
	{"unlink", unlinkCases},
	{"rename", renameCases},
	{"renamedir", renamedirCases},
	{"link", linkCases},
	{"mknod", mknodCases},
	{"write", writeCases},
	{"mmap", mmapCases},
	{"space", spaceCases},
	{"times", timesCases},
	{"perms", permsCases},
	{"xattr", xattrCases},
	{"acl", aclCases},
	{"locks", locksCases},
	{"unlinked", unlinkedCases},
	{"inode", inodeCases},
	{"names", namesCases},
	{"parallel", parallelCases},
	{"faults_tree", faultsTreeCases},
	{"faults_data", faultsDataCases},
	{"traps", trapsCases},
}

// noOrigin is why inode numbers change at copy-up in kernel overlayfs when it
// runs in a user namespace.
var noOrigin = map[string]string{"overlay-userns": "overlayfs finds no origin without CAP_DAC_READ_SEARCH: numbers change at copy-up"}

// Cases lists all cases, each with its family's name.
func Cases() []*Case {
	var all []*Case
	for _, f := range families {
		for _, c := range f.cases() {
			c.Family = f.name
			all = append(all, &c)
		}
	}
	return all
}

// lookup finds the reason that m gives for v: by its name, that of the variant
// which it is like, else by its kind.
func lookup(m map[string]string, v *Variant) (string, bool) {
	for _, k := range []string{v.Name, v.Like, v.Kind} {
		if r, ok := m[k]; ok {
			return r, true
		}
	}
	return "", false
}

// refusal says why the case can't run on the variant; "" means that it can.
func (c *Case) refusal(v *Variant) string {
	if r, ok := lookup(c.Not, v); ok {
		return r
	}
	if v.ReadOnly && !c.RO {
		return "the mount is read-only"
	}
	if c.Big && !v.Big {
		return "its layers cost seconds to build"
	}
	for n, why := range needReason {
		if c.Needs&n != 0 && v.lacks()&n != 0 {
			return why
		}
	}
	return ""
}
