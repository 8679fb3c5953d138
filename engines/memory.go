package engines

import (
	"os"
	"strconv"
	"strings"
)

// defaultClickHouseMemory is 40 % of the memory that the machine or the control group has, but no more than 4 GiB and
// no less than 512 MiB: below that the engine refuses ordinary queries.
func defaultClickHouseMemory() int64 {
	const least, most = 512 << 20, 4 << 30
	total := machineMemory()
	// The paths of control groups v2 and v1; "max" and v1's huge number for "no limit" do no harm.
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && limit < total {
			total = limit
		}
	}
	return min(max(total/10*4, least), most)
}

func machineMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b)) // MemTotal: 24000000 kB …
	if len(fields) < 2 {
		return 0
	}
	kib, _ := strconv.ParseInt(fields[1], 10, 64)
	return kib << 10
}
