package subnet

// What the fuzz test of Saved uses, which has no time for the disk.
var (
	ParseSaved  = parseSaved
	EncodeSaved = Saved.encode
)
