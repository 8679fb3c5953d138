package slo

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// objectKey names an object within what is parsed together.
type objectKey struct{ kind, name string }

// object is one OpenSLO object whose spec is not read yet.
type object struct {
	key         objectKey
	name        node // for the place of mistakes about the name
	displayName string
	annotations map[string]node
	spec        node
	referred    bool
}

// kinds are OpenSLO's kinds that headroom reads, the last two only to pass over them.
var kinds = []string{"SLO", "SLI", "Service", "AlertPolicy", "AlertCondition", "AlertNotificationTarget", "DataSource"}

// readObject reads what all kinds have in common. It returns nil when that leaves nothing to go on with.
func readObject(root node) *object {
	fields := root.fields("apiVersion", "kind", "metadata", "spec")
	if fields == nil {
		return nil
	}
	version := root.required(fields, "apiVersion", "write apiVersion: openslo/v1")
	if v := version.str(); version.present() && v != apiVersion {
		if strings.HasPrefix(v, "openslo") {
			version.fail(v, "is a version that is not supported yet: use %s", apiVersion)
		} else {
			version.fail(v, "must be %s", apiVersion)
		}
		return nil // another version means other fields
	}
	kind := root.required(fields, "kind", "one of "+strings.Join(kinds[:5], ", "))
	k := kind.str()
	if !kind.present() {
		return nil
	}
	if !slices.Contains(kinds, k) {
		kind.fail(k, "unknown kind%s", didYouMean(k, kinds))
		return nil
	}
	o := readMetadata(root.required(fields, "metadata", "it holds the name"))
	o.key.kind = k
	o.spec = root.required(fields, "spec", "it says what this "+k+" is")
	return o
}

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func readMetadata(m node) *object {
	fields := m.fields("name", "displayName", "labels", "annotations")
	o := &object{}
	o.name = m.required(fields, "name", "lower-case letters, digits and hyphens")
	o.key.name = o.name.str()
	if o.name.present() && !namePattern.MatchString(o.key.name) {
		o.name.fail(o.key.name, "must be 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends%s",
			suggestName(o.key.name))
	}
	o.displayName = fields["displayName"].limited(200)
	fields["labels"].fields()
	o.annotations = fields["annotations"].fields()
	for _, key := range slices.Sorted(maps.Keys(o.annotations)) {
		if strings.HasPrefix(key, annotationPrefix) && !slices.Contains(annotations, key) {
			o.annotations[key].fail("", "unknown annotation%s", didYouMean(key, annotations))
		}
	}
	return o
}

// limited returns a string of at most limit bytes.
func (n node) limited(limit int) string {
	s := n.str()
	if len(s) > limit {
		n.fail(s, "is longer than %d bytes", limit)
	}
	return s
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// suggestName returns "; for example X" with the nearest valid name.
func suggestName(s string) string {
	s = strings.Trim(notInName.ReplaceAllString(strings.ToLower(s), "-"), "-")
	s = strings.Trim(s[:min(len(s), 63)], "-")
	if s == "" {
		return ""
	}
	return ", for example " + s
}
