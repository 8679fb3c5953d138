package tenant

// The states of a deletion.
const (
	deletionRefusing = "refusing" // collectors learn that they refuse the tenant, and empty what they have of it
	deletionErasing  = "erasing"  // its rows are removed
	deletionDone     = "done"     // none was left
)
