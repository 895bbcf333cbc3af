/* SPDX-License-Identifier: BSD-3-Clause */
#include "expect.h"
#include "handle.h"
#include "machine.h"
#include "mapping.h"

struct machine machine;

/* Ends all requests and pins, and all delays and failures of io_uring. */
static void turn_off(void)
{
	machine.ring = (struct machine_ring_plan) {
		.present = machine.ring.present, .seed = machine.ring.seed,
	};
	machine_rings_forget();
	machine_pins_forget();
}

void machine_reset(struct machine_disk *disk)
{
	machine = (struct machine) {
		.disk = disk, .kind = DP_SOURCE_SHMEM, .pid = 4242,
		.now_ns = 1000000000, .random = 1, .room = UINT64_MAX,
	};
	machine_set_boot(0x11);
	turn_off();
	machine_handles_forget();
	machine_mappings_forget();
	machine_disk_restore(disk);
}

void machine_reboot(void)
{
	machine_expect_quiet();
	turn_off();
	for (int i = sizeof(machine.boot_id) - 1; i >= 0; i--)
		if (++machine.boot_id[i])
			break;
	machine.pid = machine.pid % 0xffffff + 1;
}

void machine_expect_quiet(void)
{
	expect(!machine.open, "%u descriptors left open", machine.open);
	expect(!machine.mapped, "%llu bytes left mapped",
	       (unsigned long long)machine.mapped);
	machine_mappings_expect_none();
}

void machine_set_boot(uint8_t number)
{
	memset(machine.boot_id, number, sizeof(machine.boot_id));
}
