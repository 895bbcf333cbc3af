/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Control commands of Linux's ublk driver, and what the <linux/ublk_cmd.h> of Linux 6.1
 * lacks. Whether the running kernel has a feature is what UBLK_U_CMD_GET_FEATURES
 * returns.
 */
#ifndef NBD_CACHE_UBLK_DRIVER_H
#define NBD_CACHE_UBLK_DRIVER_H

#include <linux/ublk_cmd.h>
#include <stdint.h>
#include <sys/ioctl.h>

#define UBLK_CONTROL			"/dev/ublk-control"

/* Since Linux 6.4. */
#ifndef UBLK_U_CMD_GET_DEV_INFO
#define UBLK_U_CMD_GET_DEV_INFO		_IOR('u', 0x02, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_ADD_DEV		_IOWR('u', 0x04, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_DEL_DEV		_IOWR('u', 0x05, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_START_DEV		_IOWR('u', 0x06, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_STOP_DEV		_IOWR('u', 0x07, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_SET_PARAMS		_IOWR('u', 0x08, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_START_USER_RECOVERY	_IOWR('u', 0x10, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_END_USER_RECOVERY	_IOWR('u', 0x11, struct ublksrv_ctrl_cmd)
#define UBLK_U_IO_FETCH_REQ		_IOWR('u', 0x20, struct ublksrv_io_cmd)
#define UBLK_U_IO_COMMIT_AND_FETCH_REQ	_IOWR('u', 0x21, struct ublksrv_io_cmd)
#endif

/* Since Linux 6.5. */
#ifndef UBLK_U_CMD_GET_FEATURES
#define UBLK_U_CMD_GET_FEATURES		_IOR('u', 0x13, struct ublksrv_ctrl_cmd)
#endif

/* Since Linux 6.9. */
#ifndef UBLK_U_CMD_DEL_DEV_ASYNC
#define UBLK_U_CMD_DEL_DEV_ASYNC	_IOR('u', 0x14, struct ublksrv_ctrl_cmd)
#endif

/* Each tag of a queue can have a thread of its own: since Linux 6.16. */
#ifndef UBLK_F_PER_IO_DAEMON
#define UBLK_F_PER_IO_DAEMON		(1ull << 13)
#endif

/*
 * Sends the command for a device, or for none: UINT32_MAX; `with` has `size` bytes that
 * the command reads or writes. Returns what the driver returns, or -errno of opening
 * UBLK_CONTROL: -ENOENT if there is no driver.
 */
int ublk_control(uint32_t command, uint32_t device, const void *with, uint16_t size,
		 uint64_t data);

#endif
