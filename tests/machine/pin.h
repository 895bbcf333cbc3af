/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages of a file that a device has pinned. While a page is pinned, punches and layout
 * barriers of its file wait.
 */
#ifndef MACHINE_PIN_H
#define MACHINE_PIN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Pins a page until that time. Right before the pin ends, land(arg) is called, if not
 * NULL, to make the device's last store.
 */
void machine_pin(uint32_t file, uint64_t until_ns, void (*land)(void *arg),
		 void *arg);
bool machine_is_pinned(uint32_t file);
/* Ends the pins whose until_ns has passed. */
void machine_pins_look(void);
void machine_pins_forget(void);

#endif
