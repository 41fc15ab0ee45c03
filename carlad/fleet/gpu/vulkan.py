"""The order in which Vulkan lists the cards, by which `-graphicsadapter` counts.

Unreal 4.26 takes the explicit adapter from `vkEnumeratePhysicalDevices` as it comes
(VulkanRHI.cpp, `OriginalOrderedDevices`). Layouts: vulkan_core.h of Vulkan 1.1.
"""

from __future__ import annotations

import ctypes

from carlad.fleet.gpu.devices import PciBus

_APPLICATION_INFO, _INSTANCE_CREATE_INFO = 0, 1
_PROPERTIES_2, _PCI_BUS_INFO = 1000059001, 1000212000
_VERSION_1_1 = 1 << 22 | 1 << 12
_PROPERTIES_BYTES = 4096  # VkPhysicalDeviceProperties has 824
_UNTOUCHED = 0xFFFFFFFF  # by a driver without VK_EXT_pci_bus_info


class _ApplicationInfo(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_uint32),
        ("next", ctypes.c_void_p),
        ("application", ctypes.c_char_p),
        ("application_version", ctypes.c_uint32),
        ("engine", ctypes.c_char_p),
        ("engine_version", ctypes.c_uint32),
        ("api_version", ctypes.c_uint32),
    ]


class _InstanceCreateInfo(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_uint32),
        ("next", ctypes.c_void_p),
        ("flags", ctypes.c_uint32),
        ("application", ctypes.POINTER(_ApplicationInfo)),
        ("layer_count", ctypes.c_uint32),
        ("layers", ctypes.c_void_p),
        ("extension_count", ctypes.c_uint32),
        ("extensions", ctypes.c_void_p),
    ]


class _PciBusInfo(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_uint32),
        ("next", ctypes.c_void_p),
        ("domain", ctypes.c_uint32),
        ("bus", ctypes.c_uint32),
        ("device", ctypes.c_uint32),
        ("function", ctypes.c_uint32),
    ]


class _Properties2(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_uint32),
        ("next", ctypes.c_void_p),
        ("properties", ctypes.c_uint8 * _PROPERTIES_BYTES),
    ]


def adapter_order() -> list[PciBus | None]:
    """The bus of each adapter; None for one that is on none, such as a software renderer.

    Raises OSError where there is no Vulkan.
    """
    vulkan = ctypes.CDLL("libvulkan.so.1")
    application = _ApplicationInfo(type=_APPLICATION_INFO, api_version=_VERSION_1_1)
    wanted = _InstanceCreateInfo(type=_INSTANCE_CREATE_INFO, application=ctypes.pointer(application))
    instance = ctypes.c_void_p()
    _check(vulkan.vkCreateInstance(ctypes.byref(wanted), None, ctypes.byref(instance)))
    try:
        return [_bus(vulkan, adapter) for adapter in _adapters(vulkan, instance)]
    finally:
        vulkan.vkDestroyInstance(instance, None)


def _adapters(vulkan: ctypes.CDLL, instance: ctypes.c_void_p) -> list[ctypes.c_void_p]:
    count = ctypes.c_uint32()
    _check(vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None))
    found = (ctypes.c_void_p * count.value)()
    _check(vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), found))
    return [ctypes.c_void_p(adapter) for adapter in found]


def _bus(vulkan: ctypes.CDLL, adapter: ctypes.c_void_p) -> PciBus | None:
    bus = _PciBusInfo(type=_PCI_BUS_INFO, domain=_UNTOUCHED, bus=_UNTOUCHED, device=_UNTOUCHED)
    properties = _Properties2(type=_PROPERTIES_2, next=ctypes.addressof(bus))
    vulkan.vkGetPhysicalDeviceProperties2(adapter, ctypes.byref(properties))
    return None if bus.bus == _UNTOUCHED else PciBus(bus.domain, bus.bus, bus.device)


def _check(result: int) -> None:
    if result != 0:  # VK_SUCCESS
        raise OSError(f"Vulkan: result {ctypes.c_int32(result).value}")
