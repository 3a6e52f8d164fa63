"""Every fault, in modules by what it disturbs. ``testing.registry`` has their names.

answers        errors, late answers
events         lost events
http_shapes    broken HTTP answers, and answers of another shape
wan            other external addresses, WAN down
"""
