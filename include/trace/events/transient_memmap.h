/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM transient_memmap

#if !defined(_TRACE_TRANSIENT_MEMMAP_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_TRANSIENT_MEMMAP_H

#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(transient_memmap_block,

	TP_PROTO(unsigned long pfn),

	TP_ARGS(pfn),

	TP_STRUCT__entry(
		__field(unsigned long, pfn)
	),

	TP_fast_assign(
		__entry->pfn = pfn;
	),

	TP_printk("pfn=0x%lx", __entry->pfn)
);

/* A pin found no struct pages, and made them. */
DEFINE_EVENT(transient_memmap_block, transient_memmap_populate,
	TP_PROTO(unsigned long pfn),
	TP_ARGS(pfn)
);

/* The struct pages of a block are gone, and their memory is free. */
DEFINE_EVENT(transient_memmap_block, transient_memmap_free,
	TP_PROTO(unsigned long pfn),
	TP_ARGS(pfn)
);

/* A pin found no struct pages, and could not get any. */
TRACE_EVENT(transient_memmap_fail,

	TP_PROTO(unsigned long pfn, int error),

	TP_ARGS(pfn, error),

	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(int, error)
	),

	TP_fast_assign(
		__entry->pfn = pfn;
		__entry->error = error;
	),

	TP_printk("pfn=0x%lx error=%d", __entry->pfn, __entry->error)
);

#endif /* _TRACE_TRANSIENT_MEMMAP_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
