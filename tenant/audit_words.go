package tenant

import (
	"encoding/json"
	"strings"
	"unicode"
)

const (
	maxWords = 400 // of an entry: beyond, it is not found by them
	maxWord  = 60  // bytes: beyond, a word is found by its beginning
)

// hiddenMark begins words that only the operator finds an entry by: those of a caller whom the entry's tenant does not see.
const hiddenMark = "@"

// auditWords are what an entry is found by: the words of its action, its resource, its caller, and of all texts and numbers in
// before and after.
func auditWords(e *AuditEntry, who actor, before, after json.RawMessage) []string {
	words := map[string]bool{}
	add := func(mark, text string) {
		for _, w := range splitWords(text) {
			if len(words) < maxWords {
				words[mark+w] = true
			}
		}
	}
	mark := ""
	if e.Tenant != Untagged && who.tenant != e.Tenant {
		mark = hiddenMark
	}
	add("", e.Action)
	add("", e.Kind)
	add("", e.Resource)
	add("", string(e.Tenant))
	add(mark, who.name)
	for _, raw := range []json.RawMessage{after, before} {
		var v any
		if raw != nil && json.Unmarshal(raw, &v) == nil {
			eachText(v, func(s string) { add("", s) })
		}
	}
	list := make([]string, 0, len(words))
	for w := range words {
		list = append(list, w)
	}
	return list
}

// splitWords returns the runs of letters and digits in a text, in lower case.
func splitWords(text string) []string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for i, w := range words {
		if len(w) > maxWord {
			words[i] = strings.ToValidUTF8(w[:maxWord], "")
		}
	}
	return words
}

// eachText calls f for every text and number in a JSON value, but not for the names of members: those are the same in
// all entries.
func eachText(v any, f func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for _, member := range v {
			eachText(member, f)
		}
	case []any:
		for _, member := range v {
			eachText(member, f)
		}
	case string:
		f(v)
	}
}

// wordQuery returns the tsquery for what a person looks for: all its words, each by its beginning. It is empty when there is no
// word in it. Words hold letters and digits only, so nothing in them is tsquery's syntax.
func wordQuery(text string, operator bool) string {
	var all []string
	for _, w := range splitWords(text) {
		part := "'" + w + "':*"
		if operator {
			part = "(" + part + " | '" + hiddenMark + w + "':*)"
		}
		all = append(all, part)
	}
	return strings.Join(all, " & ")
}
