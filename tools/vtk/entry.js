// What the pages use of vtk.js, and no more: volumes and surfaces drawn with WebGL2. The first imports register what draws them.
import "@kitware/vtk.js/Rendering/OpenGL/Camera.js";
import "@kitware/vtk.js/Rendering/OpenGL/Renderer.js";
import "@kitware/vtk.js/Rendering/OpenGL/Volume.js";
import "@kitware/vtk.js/Rendering/OpenGL/VolumeMapper.js";
import "@kitware/vtk.js/Rendering/OpenGL/Actor.js";
import "@kitware/vtk.js/Rendering/OpenGL/PolyDataMapper.js";

export { default as OpenGLRenderWindow } from "@kitware/vtk.js/Rendering/OpenGL/RenderWindow.js";
export { default as RenderWindow } from "@kitware/vtk.js/Rendering/Core/RenderWindow.js";
export { default as Renderer } from "@kitware/vtk.js/Rendering/Core/Renderer.js";
export { default as Volume } from "@kitware/vtk.js/Rendering/Core/Volume.js";
export { default as VolumeMapper } from "@kitware/vtk.js/Rendering/Core/VolumeMapper.js";
export { default as ColorTransferFunction } from "@kitware/vtk.js/Rendering/Core/ColorTransferFunction.js";
export { default as Actor } from "@kitware/vtk.js/Rendering/Core/Actor.js";
export { default as Mapper } from "@kitware/vtk.js/Rendering/Core/Mapper.js";
export { default as PiecewiseFunction } from "@kitware/vtk.js/Common/DataModel/PiecewiseFunction.js";
export { default as ImageData } from "@kitware/vtk.js/Common/DataModel/ImageData.js";
export { default as PolyData } from "@kitware/vtk.js/Common/DataModel/PolyData.js";
export { default as DataArray } from "@kitware/vtk.js/Common/Core/DataArray.js";
