/* SPDX-License-Identifier: BSD-3-Clause */
#include "expect.h"
#include "machine.h"
#include "pin.h"

#define PINS	4u

static struct pin {
	uint32_t file;
	uint64_t until_ns;		/* 0: not in use */
	void (*land)(void *arg);
	void *arg;
} pins[PINS];

void machine_pin(uint32_t file, uint64_t until_ns, void (*land)(void *arg),
		 void *arg)
{
	for (uint32_t i = 0; i < PINS; i++) {
		if (pins[i].until_ns)
			continue;
		pins[i] = (struct pin) { file, until_ns, land, arg };
		return;
	}
	expect(false, "too many pins");
}

bool machine_is_pinned(uint32_t file)
{
	for (uint32_t i = 0; i < PINS; i++)
		if (pins[i].until_ns && pins[i].file == file)
			return true;
	return false;
}

static void land(const struct pin *pin)
{
	if (machine.observer)
		machine.observer->kernel(true);
	pin->land(pin->arg);
	if (machine.observer)
		machine.observer->kernel(false);
}

void machine_pins_look(void)
{
	for (uint32_t i = 0; i < PINS; i++) {
		struct pin pin = pins[i];

		if (!pin.until_ns || machine.now_ns < pin.until_ns)
			continue;
		pins[i].until_ns = 0;
		if (pin.land)
			land(&pin);
	}
}

void machine_pins_forget(void)
{
	memset(pins, 0, sizeof(pins));
}
