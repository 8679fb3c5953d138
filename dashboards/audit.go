package dashboards

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
	"github.com/nexis-limited/headroom/web/theme"
)

// auditPerPage is how many entries a page has.
const auditPerPage = 50

// auditData is the page of the audit log.
type auditData struct {
	*layout
	ID       tenant.ID // whose log it is, where it is one tenant's only
	Fields   []auditField
	Operator bool // the operator's own entries only
	Filtered bool
	After    bool // it is not the first page
	Entries  []auditEntry

	Sentence           string // what happened last
	ClearHref          string
	NewestHref         string
	OlderHref          string // empty on the last page
	CSVHref, LinesHref string // of the export; empty when a field is wrong
	OperatorWrong      string
	ListPanel          panel
}

// auditField is one field of the search.
type auditField struct {
	Name, Label, Type, Value string
	Hint                     string // how it is matched
	Max                      int    // characters
	Wrong                    string // what is wrong with the value
}

// ID returns the element's: that of the words is what the key / goes to.
func (f auditField) ID() string {
	if f.Name == "q" {
		return "find"
	}
	return "field-" + f.Name
}

// auditFields are the fields, in their order on the page.
func auditFields() []auditField {
	return []auditField{
		{Name: "q", Label: "Words", Type: "search", Hint: "each by its beginning", Max: 200},
		{Name: "actor", Label: "Who", Type: "text", Hint: "the whole name", Max: 300},
		{Name: "action", Label: "Action", Type: "text", Hint: "its beginning, such as key.", Max: 100},
		{Name: "resource_kind", Label: "Kind", Type: "text", Hint: "such as key or tenant", Max: 100},
		{Name: "resource", Label: "Resource", Type: "text", Hint: "its whole id", Max: 600},
		{Name: "tenant", Label: "Tenant", Type: "text", Hint: "its whole id", Max: tenant.MaxIDLen},
		{Name: "address", Label: "IP address", Type: "text", Hint: "or a network, 192.0.2.0/24", Max: 100},
		{Name: "from", Label: "From, UTC", Type: "datetime-local", Max: 40},
		{Name: "to", Label: "Before, UTC", Type: "datetime-local", Max: 40},
	}
}

// auditEntry is an entry as the page shows it.
type auditEntry struct {
	*tenant.AuditRecord
	Changes []change // the first of them
	More    []change // the others
	Same    bool     // nothing that is stored of it has changed
}

// maxChanges is how many lines of a change stand there at once.
const maxChanges = 5

func (c *Console) auditPage(w http.ResponseWriter, r *http.Request) error {
	d := &auditData{}
	if r.URL.Path == "/tenant/audit" {
		id, err := tenantOf(r)
		if err != nil {
			return err
		}
		if id == tenant.Untagged {
			return fault.InvalidField("id", "", "must name a tenant")
		}
		d.ID = id
	}
	var err error
	if d.layout, err = c.newLayout(r, "audit", "Audit log", false); err != nil {
		return err
	}
	d.Live = false
	d.Crumbs = []crumb{{Label: "Audit log"}}
	if d.ID != tenant.Untagged && d.Own == tenant.Untagged {
		d.Crumbs = []crumb{{"Tenants", "/tenants"}, {string(d.ID), tenantPath(d.ID)}, {Label: "Audit log"}}
		d.Nav = "tenants"
	}
	filter, ok := d.read(r.URL.Query())
	status := http.StatusOK
	if ok {
		if filter.After, err = tenant.ParseAuditCursor(r.URL.Query().Get("after")); err != nil {
			return err
		}
		d.After = filter.After != tenant.AuditCursor{}
		filter.Limit = auditPerPage + 1
		list, err := web.SearchAudit(r.Context(), c.opts.Audit, filter)
		d.ListPanel = c.failed(r.Context(), "the audit log", err)
		d.show(list, r.URL)
	} else {
		status = http.StatusBadRequest
	}
	return c.render(w, "audit", status, d.Partial, d)
}

// read fills in the search as it was typed and returns its filter; ok is false when a field is wrong, which then says so.
func (d *auditData) read(q url.Values) (f tenant.AuditFilter, ok bool) {
	query := web.AuditQuery{Operator: q.Get("operator") == "true"}
	d.Operator = query.Operator
	texts := map[string]*string{"q": &query.Text, "actor": &query.Actor, "action": &query.Action, "resource_kind": &query.ResourceKind,
		"resource": &query.Resource, "tenant": &query.Tenant, "address": &query.Address}
	times := map[string]*time.Time{"from": &query.From, "to": &query.To}
	export := url.Values{}
	ok = true
	for _, field := range auditFields() {
		if d.ID != tenant.Untagged && field.Name == "tenant" {
			continue
		}
		field.Value = strings.TrimSpace(q.Get(field.Name))
		d.Filtered = d.Filtered || field.Value != ""
		switch at := times[field.Name]; {
		case field.Value == "":
		case len(field.Value) > field.Max:
			field.Wrong = "Is too long: " + theme.Num(len(field.Value)) + " characters, at most " + theme.Num(field.Max) + "."
		case at != nil:
			if *at, field.Wrong = parseTime(field.Value); field.Wrong == "" {
				export.Set(field.Name, at.Format(time.RFC3339))
				field.Value = at.Format(localTime)
			}
		default:
			*texts[field.Name] = field.Value
			export.Set(field.Name, field.Value)
		}
		ok = ok && field.Wrong == ""
		d.Fields = append(d.Fields, field)
	}
	d.Filtered = d.Filtered || d.Operator
	if d.ID != tenant.Untagged {
		query.Tenant = string(d.ID)
		export.Set("tenant", query.Tenant)
	}
	if query.Operator {
		export.Set("operator", "true")
	}
	f, err := query.Filter()
	if err != nil {
		ok = false
		d.mark(err)
	}
	d.ClearHref = "/audit"
	if d.ID != tenant.Untagged {
		d.ClearHref = tenantAuditPath(d.ID)
	}
	if ok {
		d.LinesHref = "/api/v1/audit/export?" + export.Encode()
		export.Set("format", "csv")
		d.CSVHref = "/api/v1/audit/export?" + export.Encode()
	}
	return f, ok
}

// mark puts a mistake beside the field that has it.
func (d *auditData) mark(err error) {
	var e *fault.Error
	if !errors.As(err, &e) {
		return
	}
	words := strings.ToUpper(e.Message[:1]) + e.Message[1:] + "."
	if e.Field == "operator" {
		d.OperatorWrong = words
	}
	for i := range d.Fields {
		f := &d.Fields[i]
		if f.Name == e.Field || e.Field == "tenant.id" && f.Name == "tenant" {
			f.Wrong = words
		}
	}
}

// localTime is how a field for a date and a time has its value.
const localTime = "2006-01-02T15:04"

// parseTime reads what such a field sends, or RFC 3339, as the API takes it. wrong says why it is neither.
func parseTime(s string) (t time.Time, wrong string) {
	for _, layout := range []string{time.RFC3339, localTime, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), ""
		}
	}
	return t, "“" + s + "” must be a date and a time of UTC, such as 2026-11-24T09:14."
}

func (d *auditData) show(list []tenant.AuditRecord, address *url.URL) {
	d.NewestHref = withQuery(address, "after", "")
	if len(list) > auditPerPage {
		list = list[:auditPerPage]
		d.OlderHref = withQuery(address, "after", list[auditPerPage-1].Cursor().String())
	}
	d.Entries = make([]auditEntry, len(list))
	for i := range list {
		e := auditEntry{AuditRecord: &list[i], Changes: changesOf(list[i].Before, list[i].After)}
		e.Same = len(e.Changes) == 0 && len(list[i].Before) > 0 && len(list[i].After) > 0
		if len(e.Changes) > maxChanges {
			e.Changes, e.More = e.Changes[:maxChanges], e.Changes[maxChanges:]
		}
		d.Entries[i] = e
	}
	if len(list) > 0 && !d.After {
		last := &list[0]
		d.Sentence = "Last: " + last.Actor + ", " + last.Action
		if last.Resource != "" {
			d.Sentence += " " + last.Resource
		}
		d.Sentence += ", " + theme.Stamp(last.At, d.Now) + "."
	}
}

// auditOf returns the address of a tenant's entries for those who may read them, else nothing.
func auditOf(r *http.Request, id tenant.ID) string {
	who, _ := tenant.IdentityFrom(r.Context())
	may := tenant.MayRead(tenant.ResourceAudit)
	if id != tenant.Untagged && (who.Can(may) || who.Has(may) && who.Tenant == id) {
		return tenantAuditPath(id)
	}
	return ""
}

// kindWord says what kind of caller did something.
func kindWord(k tenant.ActorKind) string {
	switch k {
	case tenant.ActorUser:
		return "person"
	case tenant.ActorKey:
		return "key"
	}
	return "headroom itself"
}

// auditWith returns the address of the log with some of its fields set, in place of those of the page at address.
func auditWith(address string, pairs ...string) string {
	u, err := url.Parse(address)
	if err != nil || u.Path != "/audit" && u.Path != "/tenant/audit" {
		u = &url.URL{Path: "/audit"}
	}
	return withQuery(u, append([]string{"after", ""}, pairs...)...)
}
