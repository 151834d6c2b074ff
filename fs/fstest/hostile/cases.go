package hostile

// Case is one hostile input.
type Case struct {
	Name string
	Try  func(*Stand)
	Root bool // makes devices or trusted xattrs
}

// Cases are all that mount. What is refused is in Refusals.
var Cases = []Case{
	{Name: "override_stat that is garbage", Try: garbageOverride},
	{Name: "override_stat of the root that is garbage", Try: garbageRoot},
	{Name: "opaque xattr that is garbage", Try: garbageOpaque},
	{Name: "other overlay xattrs that are garbage", Try: garbageRecords},
	{Name: "metacopy without data", Try: metacopyWithoutData},
	{Name: "metacopy chains", Try: metacopyChains, Root: true},
	{Name: "redirect loops", Try: redirectLoops},
	{Name: "redirects through redirects", Try: redirectComposes},
	{Name: "redirect to what is hidden", Try: redirectHidden},
	{Name: "redirect that is not followed", Try: redirectRefused},
	{Name: "redirect that climbs out", Try: redirectClimbs},
	{Name: "odd dot-wh names", Try: oddWhiteouts},
	{Name: "names of 255 bytes", Try: longNames},
	{Name: "names of every byte", Try: everyByte},
	{Name: "lower of 4,000 levels", Try: deepLower},
	{Name: "upper of 4,000 levels", Try: deepUpper},
	{Name: "directory of a million entries", Try: millionEntries, Root: true},
	{Name: "full disk in mid copy-up", Try: fullDisk},
	{Name: "upper without inodes", Try: fullOfInodes},
	{Name: "directory swapped for a symlink", Try: swappedForSymlink},
	{Name: "symlinks that lead out", Try: symlinksOut},
	{Name: "device nodes in a lower", Try: deviceNodes, Root: true},
}
