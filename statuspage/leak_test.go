package statuspage

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestPublicFields walks every field that the public can get. A field that is new here needs a person who says that
// everybody may know it, and a line in the golden file.
func TestPublicFields(t *testing.T) {
	var got []string
	var walkType func(path string, ty reflect.Type)
	walkType = func(path string, ty reflect.Type) {
		switch ty.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
			walkType(path, ty.Elem())
		case reflect.Map, reflect.Interface, reflect.Func, reflect.Chan:
			t.Errorf("%s is a %s, which can hold anything", path, ty.Kind())
		case reflect.Struct:
			if ty.PkgPath() == "time" || ty.ConvertibleTo(reflect.TypeFor[v2Time]()) {
				got = append(got, path)
				return
			}
			if ty.PkgPath() != reflect.TypeFor[View]().PkgPath() {
				t.Errorf("%s is a %s of another package", path, ty)
			}
			for _, internal := range []reflect.Type{reflect.TypeFor[Component](), reflect.TypeFor[Incident](), reflect.TypeFor[IncidentUpdate](),
				reflect.TypeFor[Entry](), reflect.TypeFor[Health](), reflect.TypeFor[Evidence]()} {
				if ty == internal {
					t.Errorf("%s is the internal %s", path, ty)
				}
			}
			for i := range ty.NumField() {
				walkType(path+"."+ty.Field(i).Name, ty.Field(i).Type)
			}
		default:
			got = append(got, path)
		}
	}
	for _, v := range []any{View{}, v2Page{}, v2Status{}, v2Component{}, v2Incident{}} {
		ty := reflect.TypeOf(v)
		walkType(ty.Name(), ty)
	}
	slices.Sort(got)
	for _, f := range got {
		for _, word := range []string{"tenant", "actor", "host", "slo", "manual", "origin", "burn", "total", "count", "product."} {
			if strings.Contains(strings.ToLower(f), word) {
				t.Errorf("%s sounds internal", f)
			}
		}
	}
	golden := filepath.Join("testdata", "public-fields.txt")
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(got, "\n") + "\n"; text != string(want) {
		t.Errorf("the public fields are not those of %s:\n%s", golden, text)
	}
}
